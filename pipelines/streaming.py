"""Samples drawn batch by batch into a file: resumable after a kill, shared by the ranks of a command.

Batches begin at multiples of the batch size counted from sample 0, also after a kill and on every rank, so that the
same seed and batch size give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.data import map_tree
from ..core.engine.parallel import World, joined
from ..core.errors import ConfigError
from ..core.spaces import Tree
from ..domains.plugin import Domain
from .screen import Screen

# A rank waits for the slowest one, which may work for hours; one that dies breaks the connection at once.
_PATIENCE = timedelta(days=2)

Draw = Callable[[Tensor], tuple[Tree, Tree]]
"""Global indices, int64 of shape (B,), to (samples, conditions)."""


@dataclass(frozen=True)
class Throughput:
    """What streaming took: samples of all ranks, seconds of the slowest."""

    samples: int
    sampling: float
    writing: float

    def __str__(self) -> str:
        seconds = self.sampling + self.writing
        if not self.samples or not seconds:
            return "nothing was left to do: the file is complete"
        return (
            f"{self.samples:,} samples in {seconds:.1f} s: {self.samples / seconds:,.0f} samples/s "
            f"({self.sampling / seconds:.0%} sampling, {self.writing / seconds:.0%} writing)"
        )


@dataclass(frozen=True)
class Target:
    """The file to write, and what its header says."""

    domain: Domain
    file: Path
    description: Mapping[str, Any]
    attributes: Mapping[str, Any]


def stream(draw: Draw, n: int, target: Target, *, batch_size: int, screen: Screen, what: str) -> Throughput:
    """Write samples 0 .. n - 1 to the target file, going on where a killed run of the same command stopped.

    Raises:
        ConfigError: no samples, or an empty batch.
        DataError: the file is something else, or cannot be written.
    """
    if n < 1 or batch_size < 1:
        raise ConfigError(f"expected at least one sample and a batch of at least one, found {n} and {batch_size}.")
    target.file.parent.mkdir(parents=True, exist_ok=True)
    with joined(timeout=_PATIENCE) as world:
        if world.size == 1:
            return _write(draw, range(n), target, batch_size, screen, what)
        rows = _share(n, batch_size, world)
        part = replace(target, file=_part(target.file, world))
        done = _write(draw, rows, part, batch_size, screen, what) if rows else Throughput(0, 0.0, 0.0)
        world.barrier()
        if world.first:
            _join(n, target, world.size, batch_size, screen)
        parts = world.gather(done)  # also waits until the file is whole
        slowest = (max(part.sampling for part in parts), max(part.writing for part in parts))
        return Throughput(sum(part.samples for part in parts), *slowest)


def _share(n: int, batch_size: int, world: World) -> range:
    """This rank's contiguous rows: whole batches, as even as can be."""
    batches = -(-n // batch_size)
    start, stop = (rank * batches // world.size * batch_size for rank in (world.rank, world.rank + 1))
    return range(start, min(stop, n))


def _write(draw: Draw, rows: range, target: Target, batch_size: int, screen: Screen, what: str) -> Throughput:
    """Draw and append the given rows; the file's row 0 is `rows.start`, a multiple of the batch size."""
    writer = target.domain.writer(target.file, target.description, target.attributes, len(rows))
    begun = rows.start + writer.written
    sampling = writing = 0.0
    first = begun - begun % batch_size if begun < rows.stop else rows.stop
    try:
        for start in range(first, rows.stop, batch_size):
            clock = time.perf_counter()
            x, condition = draw(torch.arange(start, min(start + batch_size, rows.stop)))
            drawn = time.perf_counter()
            already = max(0, begun - start)  # a killed run had written this much of the batch
            writer.append(*(map_tree(lambda t, a=already: t[a:], value) for value in (x, condition)))
            sampling, writing = sampling + drawn - clock, writing + time.perf_counter() - drawn
            done = min(start + batch_size, rows.stop)
            rate = (done - begun) / (sampling + writing)
            screen.progress(what, done - rows.start, len(rows), f"{rate:,.0f} samples/s")
    finally:
        clock = time.perf_counter()
        writer.close()
        writing += time.perf_counter() - clock
    return Throughput(rows.stop - begun, sampling, writing)


def _part(file: Path, world: World) -> Path:
    return file.with_name(f"{file.stem}.part-{world.rank}-of-{world.size}{file.suffix}")


def _join(n: int, target: Target, size: int, batch_size: int, screen: Screen) -> None:
    """Copy the ranks' parts, in order, into the target file; remove them."""
    parts = [part for rank in range(size) if (part := _part(target.file, World(rank, size))).exists()]
    sources = [target.domain.open(part, {}) for part in parts]
    starts = torch.tensor([0, *(len(source) for source in sources)]).cumsum(0).tolist()

    def read(index: Tensor) -> tuple[Tree, Tree]:
        position = next(i for i in range(len(sources)) if int(index[0]) < starts[i + 1])
        batch = sources[position].fetch(index - starts[position])
        assert batch.condition is not None
        return batch.x, batch.condition

    _write(read, range(n), target, batch_size, screen, "joining parts")  # parts hold whole batches
    for part in parts:
        part.unlink()
