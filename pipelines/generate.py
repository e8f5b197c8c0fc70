"""`maquette generate`: new samples of a fitted model, streamed to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.data import Batch, map_tree
from ..core.errors import ConfigError
from ..core.noise import KeyedNoise
from ..core.precision import Precision
from ..core.spaces import Tree
from .arguments import DataSide, check_seed
from .console.screen import Screen, Silent
from .load import Model, load
from .reporting.reproduce import FROM_ROWS, FROM_TRAINING, GENERATED, WITHOUT
from .run.folder import MODEL_SHA256
from .streaming import Generated, Target, stream

BATCH_SIZES = {"cpu": 1000, "cuda": 10_000}


def generate(
    run: str | Path,
    *,
    n: int | None = None,
    seed: int = 0,
    out: str | Path,
    conditions_from: str | Path | DataSide | None = None,
    conditions: Mapping[str, str] | None = None,
    sampler: Sequence[str] = (),
    batch_size: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    screen: Screen | None = None,
) -> Generated:
    """Draw samples and write them to a file of the domain's data spec.

    Args:
        run: a run's folder.
        n: how many; with `conditions_from`, as many as that has if not given.
        seed: it decides the sample, together with the sample's index and condition.
        out: the file; an unfinished one of the same command is continued.
        conditions_from: a data file, or a `DataSide` with some of its rows; sample i gets the condition of row i.
        conditions: a physical condition that all samples share, as words: `{"energy": "50000"}`. Without conditions
            they are drawn from the distribution seen in training, if the model has any.
        sampler: options of sampling that differ from those of the fit, as words: `["sampler.steps=50"]`; the file
            records all in use.
        batch_size: samples drawn at once; 1,000 on a CPU and 10,000 on a GPU if not given.
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
    model = load(run, device, precision=precision).with_sampler(sampler)
    if (conditions or conditions_from) and not model.conditional:
        raise ConfigError("conditions were given, but this model has none; give --n N alone.")
    given: _FromFile | _Shared | None = None
    if conditions_from:
        given = _FromFile(model, DataSide.of(conditions_from))
        n = len(given) if n is None else n
        if n > len(given):
            raise ConfigError(f"{given.side.file}: --n {n} samples were asked for, but it has {len(given)} conditions.")
        given.accept(n)
    if conditions:
        given = _Shared(model, conditions)
    if given is None:
        model.generator.draw_condition(KeyedNoise(seed, torch.zeros(1, dtype=torch.int64)))  # refuses before the file
    if n is None:
        raise ConfigError("how many samples? Give --n N, or --conditions-from FILE for one per row.")

    def draw(index: Tensor) -> Batch:
        return model.draw(index, seed, given(index) if given else None)

    description = model.generator.description
    screen.table(f"file: {out}", ("what", "value"), model.domain.describe(description))
    target = Target(model.domain, Path(out), description, _attributes(model, seed, given))
    size = batch_size or BATCH_SIZES.get(model.device.type, BATCH_SIZES["cpu"])
    return stream(draw, n, target, batch_size=size, screen=screen, what="generate")


def _attributes(model: Model, seed: int, given: _FromFile | _Shared | None) -> dict[str, Any]:
    """The file's attributes about its origin; an unfinished file is continued only if they are the same."""
    return {
        "made_by": GENERATED,
        "config_hash": str(model.config.get("config_hash", "")),
        MODEL_SHA256: model.digest,
        "conditions": given.origin if given else FROM_TRAINING if model.conditional else WITHOUT,
        "seed": seed,
        "precision": model.precision,
        **({"sampler": ", ".join(f"{path}={value}" for path, value in model.sampler.items())} if model.sampler else {}),
    }


class _FromFile:
    """Conditions read from a data file, row i for sample i."""

    def __init__(self, model: Model, side: DataSide) -> None:
        self.side, self.generator = side, model.generator
        self.data = side.select(model.domain.open(side.path, {}, model.generator.description))
        self.origin = FROM_ROWS + self.data.digest

    def __len__(self) -> int:
        return len(self.data)

    def accept(self, n: int) -> None:
        """Check the first n conditions before anything is drawn; raises `ConfigError` for one beyond training's."""
        for index in torch.arange(n).split(BATCH_SIZES["cuda"]):
            self(index)

    def __call__(self, index: Tensor) -> Tree:
        batch = self.data.fetch(index)
        if batch.condition is None:
            raise ConfigError(f"{self.side.file}: holds no conditions, which --conditions-from should name.")
        return self.generator.accept(batch.condition, where=f"{self.side.file}: ", first=int(batch.index[0]))


class _Shared:
    """One condition for all samples."""

    def __init__(self, model: Model, values: Mapping[str, str]) -> None:
        self.origin = ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
        self.one = model.domain.parse_condition(values, 1, model.generator)

    def __call__(self, index: Tensor) -> Tree:
        return map_tree(lambda tensor: tensor.expand(len(index), *tensor.shape[1:]).contiguous(), self.one)


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
