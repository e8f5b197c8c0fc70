"""`maquette generate`: new samples of a fitted model, streamed to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..core.data import Batch, map_tree
from ..core.errors import ConfigError
from ..core.memory import blocks
from ..core.noise import KeyedNoise
from ..core.precision import Precision
from ..core.spaces import Tree
from ..domains.plugin import SOURCE_SHA256
from .arguments import DataSide, check_seed
from .console.screen import Screen, Silent
from .load import Model, load
from .reporting.reproduce import (
    CONDITIONS,
    FROM_ROWS,
    FROM_TRAINING,
    GENERATED,
    PER_CONDITION,
    SOURCE_ROWS,
    WITHOUT,
)
from .run.digests import whole_digest
from .streaming import Generated, Target, stream


def generate(
    run: str | Path,
    *,
    n: int | None = None,
    seed: int = 0,
    out: str | Path,
    conditions_from: str | Path | DataSide | None = None,
    per_condition: int = 1,
    conditions: Mapping[str, str] | None = None,
    sampler: Sequence[str] = (),
    size: Sequence[int] | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    screen: Screen | None = None,
) -> Generated:
    """Draw samples and write them to a file of the domain's data spec.

    Args:
        run: a run's folder.
        n: how many; with `conditions_from`, `per_condition` for each of its rows if not given.
        seed: it decides the sample, together with the sample's index and condition.
        out: the file; an unfinished one of the same command is continued.
        conditions_from: a data file, or a `DataSide` with some of its rows; sample i gets the condition of row
            i // per_condition.
        per_condition: samples for each row of `conditions_from`, each with noise of its own.
        conditions: a physical condition that all samples share, as words: `{"NAME": "VALUE"}`. Without conditions
            they are drawn from the distribution seen in training, if the model has any.
        sampler: options of sampling that differ from those of the fit, as words: `["sampler.steps=50"]`; the file
            records all in use.
        size: sides of the grid of the samples, if it is not that of training; for models whose weights belong to no
            grid. The file's description has it.
        batch_size: samples drawn at once; as many as fit into `core.memory.WORKING_BYTES` if not given, at most 1,000
            on a CPU and 10,000 on a GPU. It does not change the samples, and an unfinished file may have another.
        device: "auto", "cpu", "cuda" or "cuda:NUMBER".
        precision: of the networks' products: "float32", "tf32" (float32 on a CPU) or "bfloat16"; the file
            records it.
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ArtifactError, ConfigError, DataError: bad input.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    if conditions and conditions_from:
        raise ConfigError("conditions come either from a file or from condition.NAME=VALUE, not from both.")
    if per_condition < 1 or (per_condition > 1 and not conditions_from):
        raise ConfigError(
            f"--per-condition {per_condition}: says how many samples, one or more, each row of --conditions-from gets."
        )
    model = load(run, device, precision=precision).with_sampler(sampler)
    if size is not None:
        model = model.with_size(size)
    if (conditions or conditions_from) and not model.conditional:
        raise ConfigError("conditions were given, but this model has none; give --n N alone.")
    given: _FromFile | _Shared | None = None
    if conditions_from:
        given = _FromFile(model, DataSide.of(conditions_from), per_condition)
        n = len(given) if n is None else n
        given.accept(n)
    if conditions:
        given = _Shared(model, conditions)
    if given is None:
        model.generator.draw_condition(KeyedNoise(seed, torch.zeros(1, dtype=torch.int64)))  # refuses before the file
    if n is None:
        raise ConfigError("how many samples? Give --n N, or --conditions-from FILE for one per row.")

    def draw(index: Tensor) -> Batch:
        condition, source_row = given(index) if given else (None, None)
        return replace(model.draw(index, seed, condition), source_row=source_row)

    description = model.generator.description
    screen.table(f"file: {out}", ("what", "value"), model.domain.describe(description))
    origin = given.origin if given else {CONDITIONS: FROM_TRAINING if model.conditional else WITHOUT}
    target = Target(model.domain, Path(out), description, {"made_by": GENERATED, **model.attributes(seed), **origin})
    at_once = batch_size or model.at_once(draw, n)
    return stream(draw, n, target, batch_size=at_once, screen=screen, what="generate")


class _FromFile:
    """Conditions read from a data file, row i // per_condition for sample i."""

    def __init__(self, model: Model, side: DataSide, per_condition: int) -> None:
        self.side, self.per_condition, self.generator = side, per_condition, model.generator
        whole = model.domain.open(side.path, {}, model.generator.description)
        self.data = side.select(whole)
        sha256 = whole_digest(model.domain, side.path, whole)
        first = int(self.data.fetch(torch.zeros(1, dtype=torch.int64)).index)
        self.origin = {
            CONDITIONS: FROM_ROWS + (self.data.digest if side.rows else sha256),
            PER_CONDITION: per_condition,
            SOURCE_SHA256: sha256,
            SOURCE_ROWS: f"{first}:{first + len(self.data)}",
        }

    def __len__(self) -> int:
        return len(self.data) * self.per_condition

    def accept(self, n: int) -> None:
        """Check the conditions of n samples before any is drawn.

        Raises:
            ConfigError: there are too few, or one is beyond those of training.
        """
        if n > len(self):
            each = f", for {self.per_condition} samples each" if self.per_condition > 1 else ""
            raise ConfigError(
                f"{self.side.file}: --n {n} samples were asked for, but it has {len(self.data)} conditions{each}."
            )
        for batch in blocks(self.data, -(-n // self.per_condition)):
            self._conditions(batch)

    def __call__(self, index: Tensor) -> tuple[Tree, Tensor]:
        """Conditions of some samples, and the rows of the file that they are in."""
        rows, position = torch.unique_consecutive(index // self.per_condition, return_inverse=True)
        condition, source_row = self._conditions(self.data.fetch(rows))
        return map_tree(lambda tensor: tensor[position], condition), source_row[position]

    def _conditions(self, batch: Batch) -> tuple[Tree, Tensor]:
        if batch.condition is None:
            raise ConfigError(f"{self.side.file}: holds no conditions, which --conditions-from should name.")
        where = f"{self.side.file}: "
        return self.generator.accept(batch.condition, where=where, first=int(batch.index[0])), batch.index


class _Shared:
    """One condition for all samples."""

    def __init__(self, model: Model, values: Mapping[str, str]) -> None:
        self.origin = {CONDITIONS: ", ".join(f"{name}={value}" for name, value in sorted(values.items()))}
        self.one = model.domain.parse_condition(values, 1, model.generator)

    def __call__(self, index: Tensor) -> tuple[Tree, None]:
        return map_tree(lambda tensor: tensor.expand(len(index), *tensor.shape[1:]).contiguous(), self.one), None


def condition_words(words: list[str]) -> dict[str, str]:
    """Read `condition.NAME=VALUE` words; raises `ConfigError`.

    >>> condition_words(["condition.energy=50000"])
    {'energy': '50000'}
    """
    values: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name.startswith("condition.") or name == "condition.":
            raise ConfigError(f'"{word}": conditions are written condition.NAME=VALUE.')
        if values.setdefault(name.removeprefix("condition."), value) != value:
            raise ConfigError(f"{name}: is given twice; all samples share one, and a file can give each its own.")
    return values
