"""Verbs that a domain brings beside those that all domains have, such as `maquette mri reconstruct`.

A verb is a config, whose fields are the KEY=VALUE words of its command, with a method that does the work:

>>> from pydantic import Field
>>> class Average(Verb):
...     '''The mean of several samples for each row of conditions.'''
...
...     samples: int = Field(default=8, ge=1, description="samples for each row")
...
...     def perform(self, job: Job):
...         def average(rows):
...             x = job.draw_each(rows, self.samples).x
...             return Batch(x.unflatten(0, (len(rows), self.samples)).mean(1), None, rows)
...
...         job.stream(average, len(job.data), job.data.description)
...         return [("rows", str(len(job.data)))]
>>> class Tables:
...     def verbs(self):
...         return {"average": Average}
>>> verbs_of(Tables())["average"]().samples, Average.summary()
(8, 'The mean of several samples for each row of conditions.')
>>> Average.options()
[('samples=8', 'samples for each row')]
>>> verbs_of(object())
{}
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic.fields import FieldInfo
from torch import Tensor

from ..core.config import Config
from ..core.data import Batch, map_tree
from ..core.errors import ConfigError
from ..core.spaces import Tree
from .generator import Generator
from .plugin import Dataset, Progress


class Stream(Protocol):
    """Writes a file of the domain's data spec row by row; goes on after a kill, and divides the rows over processes."""

    def __call__(self, work: Callable[[Tensor], Batch], n: int, description: Mapping[str, Any]) -> None:
        """Write `work(rows)` for the rows 0 to n - 1, int64 of shape (B,), as many at a time as fit into memory.

        `description` is given to `Domain.writer`. Each result must depend on its row alone.
        """
        ...


@dataclass(frozen=True)
class Job:
    """What a verb works with; under torchrun each process has one.

    Attributes:
        generator: the run's model, on `device`.
        data: rows of a data file that suits the model; None if no file was named.
        out: what to write; `stream` writes there.
        seed: of all that is drawn.
        device: where to compute.
        attributes: say of a file that it came from this work: model, seed, options, digest of the data.
        draw: samples of the model for global indices, int64 of shape (B,), and their physical conditions, on the CPU;
            the same ones as `maquette generate` draws.
        stream: see `Stream`.
        progress: shows how far the work is.
    """

    generator: Generator
    data: Dataset | None
    out: Path
    seed: int
    device: torch.device
    attributes: Mapping[str, str | int]
    draw: Callable[[Tensor, Tree | None], Batch]
    stream: Stream
    progress: Progress

    def draw_each(self, rows: Tensor, samples: int) -> Batch:
        """The samples that `maquette generate --per-condition` draws for some rows of the data.

        Args:
            rows: positions in the data, int64 (B,).
            samples: P, how many for each.

        Returns:
            B P samples, those of a row after one another.

        Raises:
            ConfigError: there are no data, or a condition is beyond those of training.
        """
        if self.data is None:
            raise ConfigError("--data: samples were to be drawn for the rows of a data file; name one.")
        batch = self.data.fetch(rows)
        condition = batch.condition
        if condition is not None:
            condition = self.generator.accept(condition, where="--data: ", first=int(batch.index[0]))
        index = (rows[:, None] * samples + torch.arange(samples)).flatten()
        each = map_tree(lambda tensor: tensor.repeat_interleave(samples, 0), condition)
        return replace(self.draw(index, each), source_row=batch.index.repeat_interleave(samples))


class Verb(Config):
    """Base of a verb that a domain brings; the module's docstring has an example.

    The first line of its docstring says what it does; its fields have descriptions.
    """

    needs_data: ClassVar[bool] = True
    """Whether it works on a data file, `--data FILE`."""

    @abstractmethod
    def perform(self, job: Job) -> Sequence[tuple[str, str]]:
        """Do the work and return pairs (label, value with unit) to print.

        Raises:
            ConfigError, DataError: bad input; nothing is written.
        """

    @classmethod
    def summary(cls) -> str:
        """What it does, in a line."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    @classmethod
    def options(cls) -> list[tuple[str, str]]:
        """Pairs (KEY=DEFAULT, description) of its fields; KEY=... where a value is required."""
        fields = cls.model_fields.items()
        return [(f"{name}={_default(field)}", field.description or "") for name, field in fields]


def _default(field: FieldInfo) -> str:
    return "..." if field.is_required() else str(field.get_default(call_default_factory=True))


@runtime_checkable
class BringsVerbs(Protocol):
    """A domain with verbs of its own; `Domain` does not ask for any."""

    def verbs(self) -> Mapping[str, type[Verb]]:
        """The verbs by name; called when one of them, or their list, is asked for."""
        ...


def verbs_of(domain: object) -> Mapping[str, type[Verb]]:
    """The verbs that a domain brings; none for most."""
    return domain.verbs() if isinstance(domain, BringsVerbs) else {}
