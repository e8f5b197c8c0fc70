"""Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in torch integer operations.

Keys and step are tensors, so that a compiled region around a draw holds for every step and every seed. On a GPU the
integer part of a draw is compiled into one kernel, and on a CPU too in a fit that compiles (`compiled_draws`). What is
compiled is exact in any order (integers, sums and products with one rounding), so it has the bits of the same
operations one by one; logarithm, sine and cosine are torch's own.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

ROUNDS = 10
_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox-4x32-10: maps a counter of four 32-bit words, in int64 tensors, to four random 32-bit words.

    The first known answer of the authors' library Random123:

    >>> zero = torch.tensor(0)
    >>> [f"{int(word):08x}" for word in philox((zero, zero, zero, zero), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    keys = torch.tensor(round_keys(key), device=c0.device)
    even, odd = _rounds(torch.stack((c0, c2)), torch.stack((c3, c1)), keys)
    return even[0], odd[0], even[1], odd[1]


def round_keys(key: tuple[int, int]) -> list[list[int]]:
    """The two keys of each round, in the order in which `_rounds` wants them: (10, 2).

    >>> [f"{word:08x}" for word in round_keys((1, 2))[1]]
    ['bb67ae87', '9e3779ba']
    """
    return [[(key[1] + i * _WEYL[1]) & _MASK, (key[0] + i * _WEYL[0]) & _MASK] for i in range(ROUNDS)]


def _rounds(even: Tensor, odd: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Ten rounds on the words (c0, c2) and (c3, c1), each (2, ...); returns (c0, c2) and (c1, c3).

    Both halves of a round are rows of one tensor, which takes half the kernels. A row of `odd` stands where the
    product of the same row of `even` meets it.
    """
    tail = (1,) * (even.dim() - 1)
    multipliers = _constant(_MULTIPLIERS, even.device).view(2, *tail)
    for key in keys.view(ROUNDS, 2, *tail).unbind():
        product = even * multipliers  # wraps as two's complement; the bits are those of uint64
        # `odd` is a whole product, too: one mask takes away its upper half and the sign of the shift
        even = (product >> 32).bitwise_xor_(odd).bitwise_and_(_MASK).bitwise_xor_(key).flip(0)
        odd = product
    return even, odd.flip(0).bitwise_and_(_MASK)


@lru_cache(maxsize=64)
def _made(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values).to(device)


def _constant(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device) if torch.compiler.is_compiling() else _made(values, device)


@lru_cache(maxsize=1024)
def _keys(seed: int, stream: str, name: str, device: torch.device) -> Tensor:
    digest = hashlib.blake2b("\x1f".join(map(str, (seed, stream, name))).encode(), digest_size=8).digest()
    key = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
    return torch.tensor(round_keys(key)).to(device)


@torch.library.custom_op("maquette::draw_keys", mutates_args=())
def _keys_at_run_time(seed: int, stream: str, name: str, index: Tensor) -> Tensor:
    return _keys(seed, stream, name, index.device).clone()


@_keys_at_run_time.register_fake
def _(seed: int, stream: str, name: str, index: Tensor) -> Tensor:
    return index.new_empty(ROUNDS, 2)


def draw_keys(seed: int, stream: str, name: str, index: Tensor) -> Tensor:
    """The keys of all rounds of a draw, int64 of shape (10, 2), on the device of the sample indices.

    A compiled region looks them up when it runs, so it is not compiled again for another seed.

    >>> draw_keys(0, "train", "z", torch.arange(3)).shape
    torch.Size([10, 2])
    """
    if torch.compiler.is_compiling():
        return _keys_at_run_time(seed, stream, name, index)
    return _keys(seed, stream, name, index.device)


def _words(index: Tensor, keys: Tensor, step: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """Random words (a, c) and (b, d) of `blocks` counters a sample, each int64 of shape (2, B, blocks)."""
    shape = (len(index), blocks)
    block = torch.arange(blocks, device=index.device).expand(shape)
    low, high = index & _MASK, (index >> 32) & _MASK
    even = torch.stack((block, high[:, None].expand(shape)))
    odd = torch.stack((step.expand(shape), low[:, None].expand(shape)))
    return _rounds(even, odd, keys)


def _fractions(index: Tensor, keys: Tensor, step: Tensor, blocks: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Uniform values in (0, 1] and in [0, 2 pi), each (2, B, blocks): what Box-Muller makes pairs of normals of."""
    even, odd = _words(index, keys, step, blocks)
    return even.to(dtype).add_(0.5).mul_(2.0**-32), odd.to(dtype).mul_(2 * torch.pi * 2.0**-32)


def _uniforms(index: Tensor, keys: Tensor, step: Tensor, blocks: int, dtype: torch.dtype) -> Tensor:
    """Values in (0, 1): (B, 4 blocks), or (B, 2 blocks) in double precision, which takes two words each."""
    even, odd = _words(index, keys, step, blocks)
    if dtype == torch.float64:
        bits, count = (even << 20).bitwise_xor_(odd >> 12), 52
    else:
        bits, count = torch.stack((even, odd), dim=-1) >> 9, 23  # 23 bits and a half step keep both ends open
    values = bits.to(dtype).add_(0.5).mul_(2.0**-count)
    return torch.stack(tuple(values), dim=2).flatten(1)


_ON_CPU: ContextVar[bool] = ContextVar("draws are compiled on a CPU", default=False)


class Fused:
    """A function of `index` and others that is compiled where `index` is on a GPU, once for all shapes.

    The first compiled result must have the bits of the plain one. If it has not, or there is no compiler, a warning
    says so and the plain function is used.

    >>> twice = Fused(lambda index: index * 2)
    >>> twice(torch.arange(3)).tolist()  # on a CPU as it is
    [0, 2, 4]
    """

    def __init__(
        self,
        function: Callable[..., Any],
        compile: Callable[..., Any] = torch.compile,
        devices: tuple[str, ...] = ("cuda",),
    ) -> None:
        self.function, self.compile, self.devices = function, compile, devices
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, index: Tensor, *others: Any) -> Any:
        if torch.compiler.is_compiling() or not self._chosen(index.device.type):
            return self.function(index, *others)
        if self._compiled is None:
            self._compiled = self._try(index, *others)
        return self._compiled(index, *others)

    def _chosen(self, device: str) -> bool:
        return device in self.devices or (device == "cpu" and _ON_CPU.get())

    @property
    def in_use(self) -> bool:
        """Whether the compiled function is used."""
        return self._compiled is not None and self._compiled is not self.function

    def _try(self, *given: Any) -> Callable[..., Any]:
        plain = self.function(*given)
        try:
            compiled = self.compile(self.function, dynamic=True)
            found = compiled(*given)
        except Exception as error:  # whatever a compiler raises: the plain function is as good, but slow
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(f"Noise could not be compiled ({reason:.300}); draws are slower.", stacklevel=3)
            return self.function
        pairs = zip(plain, found, strict=True) if isinstance(plain, tuple) else [(plain, found)]
        if all(torch.equal(a, b) for a, b in pairs):
            return compiled
        warnings.warn("Compiled noise has other bits than torch's own; draws are slower.", stacklevel=3)
        return self.function


fractions, uniforms = Fused(_fractions), Fused(_uniforms)


@contextmanager
def compiled_draws(enabled: bool = True) -> Iterator[None]:
    """Compile draws on a CPU, too, if enabled: that takes a C++ compiler and some seconds, and halves their time.

    It holds for this thread alone, because torch does not compile in two threads at once.

    >>> doubled = Fused(lambda index: index * 2, compile=lambda function, dynamic: function)
    >>> with compiled_draws(enabled=False):
    ...     doubled(torch.arange(3)).tolist()
    [0, 2, 4]
    """
    token = _ON_CPU.set(enabled or _ON_CPU.get())
    try:
        yield
    finally:
        _ON_CPU.reset(token)
