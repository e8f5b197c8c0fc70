"""The laws of linear operators hold for one that keeps them, and each is broken by one that does not."""

from dataclasses import dataclass

import pytest
import torch
from maquette.core.operators import LinearOperator
from maquette.core.testing.operators import check_operator

X, Y = (torch.randn(3, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(i)) for i in (0, 1))


@dataclass
class Blur(LinearOperator):
    """A convolution with a complex kernel, by Fourier transforms."""

    fault: str = ""

    def forward(self, x):
        y = torch.fft.ifft(self.kernel(x) * torch.fft.fft(x))
        return y + 0.1 if self.fault == "shift" else y[:, :4] if self.fault == "crop" else y

    def adjoint(self, y):
        kernel = self.kernel(y)
        return torch.fft.ifft((kernel if self.fault == "no conjugate" else kernel.conj()) * torch.fft.fft(y))

    def normal(self, x):
        return super().normal(x) * (2 if self.fault == "normal" else 1)

    def kernel(self, like):
        return torch.exp(1j * torch.arange(like.shape[1])) / (1 + torch.arange(like.shape[1]))


def test_a_linear_operator_passes():
    check_operator(Blur(), X, Y)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("no conjugate", "adjoint: <A x, y>"),
        ("normal", "normal: "),
        ("shift", "adjoint: <A x, y>"),
        ("crop", r"forward: expected measurements \(3, 8\), found \(3, 4\)"),
    ],
)
def test_each_law_is_needed(fault, law):
    with pytest.raises(AssertionError, match=law):
        check_operator(Blur(fault), X, Y)


def test_what_is_linear_in_real_numbers_alone_is_not_enough():
    class Conjugate(LinearOperator):
        def forward(self, x):
            return x.conj()

        def adjoint(self, y):
            return y.conj()

    check_operator(Conjugate(), X.real, Y.real)
    with pytest.raises(AssertionError, match="adjoint"):
        check_operator(Conjugate(), X, Y)
    with pytest.raises(AssertionError, match="forward: A"):
        check_operator(Conjugate(), X, torch.zeros_like(Y))
