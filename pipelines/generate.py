"""`maquette generate`: new samples of a fitted model, streamed to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.data import map_tree
from ..core.errors import ConfigError
from ..core.spaces import Tree
from .again import FROM_LAW, FROM_ROWS, GENERATED
from .load import Model, load
from .paths import MODEL
from .rows import select
from .screen import Screen, Silent
from .seeds import check_seed
from .streaming import Target, Throughput, stream

BATCH = {"cpu": 1000, "cuda": 10_000}


@dataclass(frozen=True)
class Generated:
    """Where the samples are and what they took."""

    file: Path
    n: int
    throughput: Throughput


def generate(
    run: str | Path,
    *,
    n: int | None = None,
    seed: int = 0,
    out: str | Path,
    conditions_from: str | Path | None = None,
    conditions_rows: str | None = None,
    conditions: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    screen: Screen | None = None,
) -> Generated:
    """Draw samples and write them to a file of the domain's data spec.

    Args:
        run: a run's folder.
        n: how many; with `conditions_from`, all its rows if not given.
        seed: with the sample's index and condition it decides the sample.
        out: the file; an unfinished one of the same command is gone on with.
        conditions_from: a data file whose conditions, row by row, the samples get.
        conditions_rows: START:STOP of that file.
        conditions: physical conditions that all samples share, as words: `{"energy": "50000"}`.
        batch_size: samples drawn at once; 1,000 on a CPU and 10,000 on a GPU if not given.
        device: "auto", "cpu", "cuda" or "cuda:NUMBER".

    Raises:
        ArtifactError, ConfigError, DataError: bad input.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    if conditions and conditions_from:
        raise ConfigError("conditions come either from a file or from condition.NAME=VALUE, not from both.")
    if conditions_rows and not conditions_from:
        raise ConfigError("--conditions-rows chooses rows of the file that --conditions-from names; give both.")
    model = load(run, device)
    given: _FromFile | _Shared | None = None
    if conditions_from:
        given = _FromFile(model, Path(conditions_from), conditions_rows)
        n = len(given) if n is None else n
        if n > len(given):
            raise ConfigError(f"{conditions_from}: --n {n} samples were asked for, but it has {len(given)} conditions.")
        given.accept(n)
    if conditions:
        given = _Shared(model, conditions)
    if n is None:
        raise ConfigError("how many samples? Give --n N, or --conditions-from FILE for one per row.")

    def draw(index: Tensor) -> tuple[Tree, Tree]:
        return model.draw(index, seed, given(index) if given else None)

    description = model.generator.description
    screen.table(f"file: {out}", ("what", "value"), model.domain.describe(description))
    target = Target(model.domain, Path(out), description, _attributes(model, seed, given))
    size = batch_size or BATCH.get(model.device.type, BATCH["cpu"])
    throughput = stream(draw, n, target, batch_size=size, screen=screen, what="generate")
    return Generated(Path(out), n, throughput)


def _attributes(model: Model, seed: int, given: _FromFile | _Shared | None) -> dict[str, Any]:
    """What the file says of its origin; a killed run goes on only if these are the same."""
    return {
        "made_by": GENERATED,
        "config_hash": str(model.provenance.get("config_hash", "")),
        MODEL: model.digest,
        "conditions": given.origin if given else FROM_LAW,
        "seed": seed,
    }


class _FromFile:
    """Conditions read from a data file, row i for sample i."""

    def __init__(self, model: Model, file: Path, rows: str | None) -> None:
        self.file, self.codec = file, model.generator.codec
        self.data = select(model.domain.open(file, {}, model.generator.description), rows, what=str(file))
        self.origin = FROM_ROWS + self.data.digest

    def __len__(self) -> int:
        return len(self.data)

    def accept(self, n: int) -> None:
        """Look at the first n conditions before anything is drawn; raises `ConfigError` if the model cannot."""
        for index in torch.arange(n).split(BATCH["cuda"]):
            self(index)

    def __call__(self, index: Tensor) -> Tree:
        batch = self.data.fetch(index)
        if batch.condition is None:
            raise ConfigError(f"{self.file}: holds no conditions, which --conditions-from should name.")
        return self.codec.accept(batch.condition, where=f"{self.file}: ", first=int(batch.index[0]))


class _Shared:
    """One condition for all samples."""

    def __init__(self, model: Model, values: Mapping[str, str]) -> None:
        self.origin = ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
        self.one = model.domain.parse_condition(values, 1, model.generator)

    def __call__(self, index: Tensor) -> Tree:
        return map_tree(lambda tensor: tensor.expand(len(index), *tensor.shape[1:]).contiguous(), self.one)


def condition_words(words: list[str]) -> dict[str, str]:
    """Read `condition.NAME=VALUE` words; raises `ConfigError`."""
    values: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name.startswith("condition.") or name == "condition.":
            raise ConfigError(f'"{word}": conditions are written condition.NAME=VALUE.')
        if values.setdefault(name.removeprefix("condition."), value) != value:
            raise ConfigError(f"{name}: is given twice; all samples share one, and a file can give each its own.")
    return values
