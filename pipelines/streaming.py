"""Samples drawn batch by batch into a file: resumable after a kill, split over the ranks of a command.

Batches begin at multiples of the batch size counted from sample 0, also after a kill and on every rank, so the same
seed and batch size give the same bytes. With another batch size the samples are the same but for rounding, and a killed
command goes on with what is written; on several ranks, with what is in the file itself and in parts of the same rows.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.data import Batch
from ..core.engine.world import World, process_group
from ..domains.plugin import Dataset, Domain, Writer
from .arguments import check_counts
from .console.numbers import samples_per_second
from .console.screen import Screen

# A rank waits for the slowest one, which may work for hours; one that dies breaks the connection at once.
_TIMEOUT = timedelta(days=2)

Draw = Callable[[Tensor], Batch]
"""Global indices, int64 of shape (B,), to their samples and conditions."""


@dataclass(frozen=True)
class Throughput:
    """Samples of all ranks, and the seconds that the slowest of them took.

    >>> print(Throughput(samples=1000, sampling=1.5, writing=0.5))
    1,000 samples in 2.0 s: 500 samples/s (75% sampling, 25% writing)
    """

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
class Generated:
    """A file of samples.

    Attributes:
        file: where it is.
        n: how many samples it holds.
        throughput: how fast this command made them.
    """

    file: Path
    n: int
    throughput: Throughput


@dataclass(frozen=True)
class Target:
    """The file to write, the description of its data, and its attributes."""

    domain: Domain
    file: Path
    description: Mapping[str, Any]
    attributes: Mapping[str, Any]


def stream(draw: Draw, n: int, target: Target, *, batch_size: int, screen: Screen, what: str) -> Generated:
    """Write samples 0 .. n - 1 to the target file, continuing where a killed run of the same command stopped.

    Raises:
        ConfigError: no samples, or an empty batch.
        DataError: the file is something else, or cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.domains import domains
    >>> from maquette.pipelines.console.screen import Silent
    >>> plugin = domains.get("calorimeter")
    >>> simulator = plugin.simulator().build()
    >>> with TemporaryDirectory() as folder:
    ...     target = Target(plugin, Path(folder) / "a.h5", simulator.description, {"made_by": "me"})
    ...     stream(lambda index: simulator.simulate(index, 0), 5, target, batch_size=2, screen=Silent(), what="draw")
    Generated(file=PosixPath('.../a.h5'), n=5, throughput=Throughput(samples=5, ...))
    """
    check_counts(n, batch_size)
    target.file.parent.mkdir(parents=True, exist_ok=True)
    with process_group(timeout=_TIMEOUT) as world:
        if world.size == 1:
            return Generated(target.file, n, _write(draw, range(n), target, batch_size, screen, what))
        batch_size = world.broadcast(batch_size)  # if each measured its own, by memory, they might differ
        written = world.once(lambda: _written(target, n))  # refused on all processes before any draws
        samples = _split(n, batch_size, world)
        part = replace(target, file=_part(target.file, samples))
        lacking = samples.stop > max(samples.start, written)
        done = _write(draw, samples, part, batch_size, screen, what) if lacking else Throughput(0, 0.0, 0.0)
        world.barrier()
        if world.first:
            _join(n, target, world.size, batch_size, screen)
        parts = world.gather(done)  # also waits until the file is whole
        slowest = (max(part.sampling for part in parts), max(part.writing for part in parts))
        return Generated(target.file, n, Throughput(sum(part.samples for part in parts), *slowest))


def _written(target: Target, n: int) -> int:
    """How many samples the target has; raises `DataError` if it is something else or cannot be written."""
    with closing(_open(target, n)) as writer:
        return writer.written


def _open(target: Target, n: int) -> Writer:
    return target.domain.writer(target.file, target.description, target.attributes, n)


def _split(n: int, batch_size: int, world: World) -> range:
    """This rank's contiguous samples: whole batches, as evenly split as possible."""
    batches = -(-n // batch_size)
    start, stop = (rank * batches // world.size * batch_size for rank in (world.rank, world.rank + 1))
    return range(start, min(stop, n))


def _write(draw: Draw, samples: range, target: Target, batch_size: int, screen: Screen, what: str) -> Throughput:
    """Draw and append the given samples; the file's row 0 is `samples.start`, a multiple of the batch size."""
    writer = _open(target, len(samples))
    begun = samples.start + writer.written
    sampling = writing = 0.0
    first = begun - begun % batch_size if begun < samples.stop else samples.stop
    try:
        for start in range(first, samples.stop, batch_size):
            clock = time.perf_counter()
            batch = draw(torch.arange(start, min(start + batch_size, samples.stop)))
            drawn = time.perf_counter()
            already = max(0, begun - start)  # a killed run had written this much of the batch
            writer.append(batch.take(slice(already, None)))
            sampling, writing = sampling + drawn - clock, writing + time.perf_counter() - drawn
            done = min(start + batch_size, samples.stop)
            rate = (done - begun) / (sampling + writing)
            screen.progress(what, done - samples.start, len(samples), samples_per_second(rate))
    finally:
        clock = time.perf_counter()
        writer.close()
        writing += time.perf_counter() - clock
    return Throughput(samples.stop - begun, sampling, writing)


def _part(file: Path, samples: range) -> Path:
    """The file of a rank's samples; named by them, since those of another batch size or number of ranks are others."""
    return file.with_name(f"{file.stem}.part-{samples.start}-{samples.stop}{file.suffix}")


def _join(n: int, target: Target, size: int, batch_size: int, screen: Screen) -> None:
    """Copy what the target lacks out of the ranks' parts, in order; remove all parts of it."""
    shares = [_split(n, batch_size, World(rank, size)) for rank in range(size)]
    stops = torch.tensor([share.stop for share in shares])

    @cache
    def part(rank: int) -> Dataset:
        return target.domain.open(_part(target.file, shares[rank]), {})

    def read(index: Tensor) -> Batch:
        rank = int(torch.searchsorted(stops, index[0], right=True))
        return replace(part(rank).fetch(index - shares[rank].start), index=index)

    _write(read, range(n), target, batch_size, screen, "joining parts")  # parts hold whole batches
    name = re.compile(rf"{re.escape(target.file.stem)}\.part-\d+-\d+{re.escape(target.file.suffix)}(\.partial)?")
    for left in target.file.parent.iterdir():
        if name.fullmatch(left.name):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
