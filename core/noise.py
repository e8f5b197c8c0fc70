"""Keyed, counter-based randomness: every draw is a function of (seed, stream, step, sample index, name).

A draw does not depend on its batch, on the number of processes, or on earlier draws.
The generator is Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in
torch integer operations, so the same code runs on any device and inside `torch.compile`.

Two classes implement the protocol `Noise`: `KeyedNoise` computes its draws, `TapeNoise` plays back named
tensors that the caller supplies (an exported sampler reads its noise from one).

>>> noise = KeyedNoise(seed=0, index=torch.arange(4))
>>> noise.normal("z", (2,)).shape
torch.Size([4, 2])
>>> alone = KeyedNoise(seed=0, index=torch.tensor([3]))
>>> torch.equal(alone.normal("z", (2,))[0], noise.normal("z", (2,))[3])
True
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from .errors import SpaceError

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


class Noise(Protocol):
    """A source of named random tensors whose first axis runs over samples."""

    @property
    def batch_size(self) -> int:
        """B, number of samples."""
        ...

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal draws, shape (B, *shape)."""
        ...

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Draws from the open interval (0, 1), shape (B, *shape)."""
        ...

    def fold(self, name: str) -> Noise:
        """Noise of the same samples in another stream, for a part of a model that has draws of its own."""
        ...


def require_batch_size(noise: Noise, n: int) -> None:
    """Raise `SpaceError` unless the noise is for n samples.

    >>> require_batch_size(KeyedNoise(0, torch.arange(2)), 3)
    Traceback (most recent call last):
    maquette.core.errors.SpaceError: noise: expected a batch size of 3, one per sample, found 2.
    """
    if noise.batch_size != n:
        raise SpaceError(f"noise: expected a batch size of {n}, one per sample, found {noise.batch_size}.")


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox-4x32-10: maps a counter of four 32-bit words, in int64 tensors, to four random 32-bit words.

    The first known answer of the authors' library Random123:

    >>> zero = torch.tensor(0)
    >>> [f"{int(word):08x}" for word in philox((zero, zero, zero, zero), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0 = c0 * _MULTIPLIERS[0]  # 64-bit products wrap as two's complement; the bits are those of uint64
        p1 = c2 * _MULTIPLIERS[1]
        # in place on what was just made: half the time of fresh tensors
        c0 = (p1 >> 32).bitwise_and_(_MASK).bitwise_xor_(c1).bitwise_xor_(k0)
        c2 = (p0 >> 32).bitwise_and_(_MASK).bitwise_xor_(c3).bitwise_xor_(k1)
        c1, c3 = p1.bitwise_and_(_MASK), p0.bitwise_and_(_MASK)
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _key(*parts: object) -> tuple[int, int]:
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


@dataclass(frozen=True)
class KeyedNoise:
    """Noise as a function of (seed, stream, step, global sample index, name).

    Args:
        seed: the run's seed.
        index: global sample indices, int64 of shape (B,); decides the device of the draws.
        stream: what the draws are for ("train", "evaluate", "generate"); streams never share draws.
        step: the optimiser step, 0 .. 2**32 - 1.
        dtype: floating dtype of the draws.

    >>> noise = KeyedNoise(seed=0, index=torch.arange(2), stream="generate")
    >>> noise.uniform("u").shape, noise.fold("decoder").stream, noise.at(step=7).step
    (torch.Size([2]), 'generate/decoder', 7)
    """

    seed: int
    index: Tensor
    stream: str = "default"
    step: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def batch_size(self) -> int:
        return len(self.index)

    def fold(self, name: str) -> KeyedNoise:
        return replace(self, stream=f"{self.stream}/{name}")

    def at(self, *, step: int | None = None, index: Tensor | None = None) -> KeyedNoise:
        """The same noise at another step or for other samples."""
        return replace(self, step=self.step if step is None else step, index=self.index if index is None else index)

    def _words(self, name: str, count: int) -> tuple[Tensor, ...]:
        """Four int64 tensors of shape (B, ceil(count / 4)) of 32-bit words."""
        blocks = torch.arange(max(1, -(-count // 4)), device=self.index.device)
        index = self.index[:, None]
        low, high = index & _MASK, (index >> 32) & _MASK
        counter = (blocks + torch.zeros_like(low), low, high, torch.full_like(low, self.step & _MASK))
        c0, c1, c2, c3 = torch.broadcast_tensors(*counter)
        return philox((c0, c1, c2, c3), _key(self.seed, self.stream, name))

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        count = math.prod(shape)
        if self.dtype == torch.float64:
            a, b, c, d = self._words(name, 2 * count)
            fine = ((a << 20) ^ (b >> 12), (c << 20) ^ (d >> 12))  # 52 bits each
            flat = (torch.stack(fine, dim=-1).flatten(1).to(torch.float64) + 0.5) * 2.0**-52
        else:
            # 23 bits and a half step keep both ends open in float32
            words = torch.stack(self._words(name, count), dim=-1).flatten(1)
            flat = ((words >> 9).to(torch.float32) + 0.5) * 2.0**-23
        return flat[:, :count].reshape(self.batch_size, *shape).to(self.dtype)

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        count = math.prod(shape)
        exact = torch.float64 if self.dtype == torch.float64 else torch.float32
        a, b, c, d = self._words(name, count)
        # Box-Muller on (radius, angle) pairs; 32-bit radii reach 6.7 sigma
        radius = torch.stack((a, c), dim=-1).to(exact).add_(0.5).mul_(2.0**-32).log_().mul_(-2).clamp_(min=0).sqrt_()
        angle = torch.stack((b, d), dim=-1).to(exact).mul_(2 * math.pi * 2.0**-32)
        flat = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1).flatten(1)
        return flat[:, :count].reshape(self.batch_size, *shape).to(self.dtype)


@dataclass
class TapeNoise:
    """Named tensors played back as noise; the sampler of an exported model reads them as inputs.

    A name is that of the draw, with the folds before it: `"voxels/prior"`. Draws of other names raise `KeyError`.

    >>> noise = TapeNoise({"voxels/prior": torch.tensor([[0.5], [-1.0]])})
    >>> noise.fold("voxels").normal("prior", (1,)).tolist()
    [[0.5], [-1.0]]
    """

    tensors: dict[str, Tensor]
    prefix: str = ""

    @property
    def batch_size(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    def fold(self, name: str) -> TapeNoise:
        return TapeNoise(self.tensors, f"{self.prefix}{name}/")

    def _play(self, name: str) -> Tensor:
        full = self.prefix + name
        if full not in self.tensors:
            raise KeyError(f'The tape holds no noise named "{full}"; it has {sorted(self.tensors)}.')
        return self.tensors[full]

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return self._play(name)

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return self._play(name)


@dataclass
class Recorder:
    """Noise that passes draws through and keeps each one.

    Attributes:
        inner: the noise that makes the draws.
        tape: the draws by name; `TapeNoise` plays them back.
        distributions: "normal" or "uniform", by the same names.
        prefix: names of the folds so far, each with a slash.

    >>> recorder = Recorder(KeyedNoise(seed=0, index=torch.arange(2)))
    >>> z = recorder.fold("voxels").normal("prior", (3,))
    >>> recorder.distributions, torch.equal(TapeNoise(recorder.tape).fold("voxels").normal("prior", (3,)), z)
    ({'voxels/prior': 'normal'}, True)
    """

    inner: Noise
    tape: dict[str, Tensor] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    prefix: str = ""

    @property
    def batch_size(self) -> int:
        return self.inner.batch_size

    def fold(self, name: str) -> Recorder:
        return Recorder(self.inner.fold(name), self.tape, self.distributions, f"{self.prefix}{name}/")

    def _keep(self, name: str, distribution: str, value: Tensor) -> Tensor:
        self.tape[self.prefix + name], self.distributions[self.prefix + name] = value, distribution
        return value

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return self._keep(name, "normal", self.inner.normal(name, shape))

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return self._keep(name, "uniform", self.inner.uniform(name, shape))
