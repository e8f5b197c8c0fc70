"""Precision of matrix products and convolutions, while weights and everything else stay in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "tf32", "bfloat16"]


@contextmanager
def tensor_float_32(device: torch.device | str, enabled: bool = True) -> Iterator[None]:
    """Round the factors of float32 products to TF32 (10 bits of mantissa) on a CUDA device; a CPU computes as before.

    >>> with tensor_float_32("cpu"):
    ...     torch.get_float32_matmul_precision()
    'highest'
    """
    before = torch.get_float32_matmul_precision()
    if enabled and torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def computing(precision: Precision, device: torch.device | str) -> Iterator[None]:
    """Compute products in this precision inside the context.

    >>> with computing("bfloat16", "cpu"):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    cast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
    with tensor_float_32(device, precision == "tf32"), cast:
        yield


@contextmanager
def all_digits() -> Iterator[None]:
    """Inside `computing`, compute products in the dtype of their factors after all.

    >>> with computing("bfloat16", "cpu"), all_digits():
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.float32
    """
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):  # else an exported graph would hold the context
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor, in float32 if it has half the bits.

    >>> at_least_single(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
