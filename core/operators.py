"""Linear operators between samples and what is measured of them: implemented by domains, used by inference.

One that measures some frequencies of complex signals:

>>> import torch
>>> class MaskedFourier(LinearOperator):
...     def __init__(self, measured):
...         self.mask = measured
...     def forward(self, x):
...         return self.mask * torch.fft.fft(x, norm="ortho")
...     def adjoint(self, y):
...         return torch.fft.ifft(self.mask * y, norm="ortho")
>>> operator = MaskedFourier(torch.tensor([1, 1, 0, 0]))
>>> signal = torch.ones(1, 4, dtype=torch.complex64)
>>> operator.forward(signal)
tensor([[2.+0.j, 0.+0.j, 0.+0.j, 0.+0.j]])
>>> torch.allclose(operator.normal(signal), signal)
True
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class LinearOperator(Protocol):
    """A linear map A of each sample of a batch, real or complex, with its adjoint.

    <A x, y> = <x, A^H y> with the inner product sum(conj(a) b) of all scalars of a sample. Shapes of x and y, and what
    depends on the batch (masks, coil sensitivities), are the operator's. `core.testing.operators` has its laws.
    """

    def forward(self, x: Tensor) -> Tensor:
        """A x, (B, ...), from x (B, ...)."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y, of the shape of x."""
        ...

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x; an operator may have a quicker way than one after the other."""
        return self.adjoint(self.forward(x))
