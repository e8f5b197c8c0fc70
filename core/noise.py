"""Keyed, counter-based randomness: every draw is a function of (seed, stream, step, sample index, name).

A draw does not depend on its batch, on the number of processes, or on earlier draws.
The generator is Philox-4x32-10 in torch integer operations (`philox.py`), so the same code runs on any device and
inside `torch.compile`.

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

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from .errors import SpaceError
from .philox import draw_keys, fractions, uniforms

_MASK = 0xFFFFFFFF


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


@dataclass(frozen=True)
class KeyedNoise:
    """Noise as a function of (seed, stream, step, global sample index, name).

    Args:
        seed: the run's seed.
        index: global sample indices, int64 of shape (B,); decides the device of the draws.
        stream: what the draws are for ("train", "evaluate", "generate"); streams never share draws.
        step: the optimiser step, 0 .. 2**32 - 1; as a scalar int64 tensor it is an input of a compiled region.
        dtype: floating dtype of the draws.

    >>> noise = KeyedNoise(seed=0, index=torch.arange(2), stream="generate")
    >>> noise.uniform("u").shape, noise.fold("decoder").stream, noise.at(step=7).step
    (torch.Size([2]), 'generate/decoder', 7)
    """

    seed: int
    index: Tensor
    stream: str = "default"
    step: int | Tensor = 0
    dtype: torch.dtype = torch.float32

    @property
    def batch_size(self) -> int:
        return len(self.index)

    def fold(self, name: str) -> KeyedNoise:
        return replace(self, stream=f"{self.stream}/{name}")

    def at(self, *, step: int | Tensor | None = None, index: Tensor | None = None) -> KeyedNoise:
        """The same noise at another step or for other samples."""
        return replace(self, step=self.step if step is None else step, index=self.index if index is None else index)

    def _draw(self, name: str, words: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """What decides the bits of a draw of so many words a sample: index, keys, step, number of counters."""
        step = (
            self.step if isinstance(self.step, Tensor) else torch.full((), self.step & _MASK, device=self.index.device)
        )
        return self.index, draw_keys(self.seed, self.stream, name, self.index), step, max(1, -(-words // 4))

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        count = math.prod(shape)
        words = 2 * count if self.dtype == torch.float64 else count
        flat = uniforms(*self._draw(name, words), self._exact)
        return flat[:, :count].reshape(self.batch_size, *shape).to(self.dtype)

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        count = math.prod(shape)
        # Box-Muller on (radius, angle) pairs; 32-bit radii reach 6.7 sigma
        radius, angle = fractions(*self._draw(name, count), self._exact)
        radius = radius.log_().mul_(-2).clamp_(min=0).sqrt_()
        cos, sin = angle.cos().mul_(radius), angle.sin().mul_(radius)  # (2, B, blocks)
        normals = torch.stack((cos[0], sin[0], cos[1], sin[1]), dim=-1)
        return normals.flatten(1)[:, :count].reshape(self.batch_size, *shape).to(self.dtype)

    @property
    def _exact(self) -> torch.dtype:
        return torch.float64 if self.dtype == torch.float64 else torch.float32


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
