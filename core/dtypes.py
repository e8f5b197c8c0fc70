"""Moving tensors and modules to a precision: real numbers stay real, complex ones complex, integers integers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def matching(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """The dtype that a tensor has in the precision of `dtype`.

    Complex numbers take parts of that precision, and of float32 where torch has no such (bfloat16, float16).

    >>> matching(torch.ones(1), torch.float64), matching(torch.ones(1, dtype=torch.complex64), torch.float64)
    (torch.float64, torch.complex128)
    >>> matching(torch.ones(1, dtype=torch.complex64), torch.bfloat16), matching(torch.arange(3), torch.float64)
    (torch.complex64, torch.int64)
    """
    if tensor.is_complex():
        return torch.complex128 if dtype in (torch.float64, torch.complex128) else torch.complex64
    return dtype.to_real() if tensor.is_floating_point() else tensor.dtype


def move(
    tensor: Tensor, device: torch.device | str, dtype: torch.dtype | None = None, *, non_blocking: bool = False
) -> Tensor:
    """A tensor on a device, in the precision of `dtype` if that is given.

    >>> move(torch.tensor([1 + 2j]), "cpu", torch.float64)
    tensor([1.+2.j], dtype=torch.complex128)
    """
    return tensor.to(device, None if dtype is None else matching(tensor, dtype), non_blocking=non_blocking)


def move_module(module: nn.Module, device: torch.device | str, dtype: torch.dtype) -> None:
    """Move parameters and buffers in place; `nn.Module.to` with a dtype would drop the imaginary parts.

    >>> layer = nn.Linear(1, 1)
    >>> layer.register_buffer("phase", torch.tensor([1j]))
    >>> move_module(layer, "cpu", torch.float64)
    >>> layer.weight.dtype, layer.phase
    (torch.float64, tensor([0.+1.j], dtype=torch.complex128))
    """
    module._apply(lambda tensor: move(tensor, device, dtype))


def as_pairs(tensor: Tensor) -> Tensor:
    """Complex numbers as real and imaginary parts on a last axis of two; other tensors as they are.

    Files hold them so, because safetensors has no complex128.

    >>> as_pairs(torch.tensor([1 + 2j], dtype=torch.complex128))
    tensor([[1., 2.]], dtype=torch.float64)
    """
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
