"""Verbs that a domain brings: the same run, data, seed, errors and progress as those of all domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.config import override, parse
from ..core.data import Batch
from ..core.errors import ConfigError, did_you_mean
from ..core.precision import Precision
from ..core.spaces import Tree
from ..domains import domains
from ..domains.verbs import Job, verbs_of
from .arguments import DataSide, check_seed
from .console.screen import Screen, Silent
from .load import load
from .streaming import Target, stream


@dataclass(frozen=True)
class Performed:
    """What a verb of a domain has done.

    Attributes:
        out: what it wrote.
        results: pairs (label, value with unit).

    >>> Performed(Path("images.h5"), (("images", "40"),)).results
    (('images', '40'),)
    """

    out: Path
    results: Sequence[tuple[str, str]]


def verb(
    domain: str,
    name: str,
    run: str | Path,
    *,
    out: str | Path,
    data: str | Path | DataSide | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    sampler: Sequence[str] = (),
    precision: Precision = "float32",
    screen: Screen | None = None,
) -> Performed:
    """Do what a verb of a domain does with a fitted model; under torchrun, call it on every rank.

    Args:
        domain: name of the domain.
        name: of the verb, see `maquette DOMAIN --help`.
        run: a run's folder.
        out: what the verb writes.
        data: a data file, or a `DataSide` with some of its rows, for a verb that works on data.
        overrides: KEY=VALUE words of the verb.
        seed: of all that is drawn.
        device: "auto", "cpu", "cuda" or "cuda:NUMBER".
        sampler: options of sampling that differ from those of the fit, as words: `["sampler.steps=50"]`.
        precision: of the networks' products, as in `maquette generate`.
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ArtifactError, ConfigError, DataError: bad input.

    >>> verb("calorimeter", "reconstruct", "runs/a", out="images.h5")
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: The domain "calorimeter" has no verbs of its own.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    plugin = domains.get(domain)
    known = verbs_of(plugin)
    if name not in known:
        listed = f'no verb "{name}".{did_you_mean(name, known)} It has {", ".join(sorted(known))}'
        raise ConfigError(f'The domain "{domain}" has {listed if known else "no verbs of its own"}.')
    work = parse(known[name], override({}, list(overrides)), where=name)
    model = load(run, device, precision=precision).with_sampler(sampler)
    if model.domain.name != plugin.name:
        raise ConfigError(f'{run}: is a run of the domain "{model.domain.name}", not of "{plugin.name}".')
    if work.needs_data != (data is not None):
        raise ConfigError(f"--data: {name} {'works on a data file; name one' if work.needs_data else 'takes no data'}.")
    chosen = None
    if data is not None:
        side = DataSide.of(data)
        chosen = side.select(plugin.open(side.path, {}, model.generator.description))
        screen.table(f"data: {side.file}", ("what", "value"), chosen.summary())
    attributes: dict[str, str | int] = {
        "made_by": f"maquette {plugin.name} {name}",
        "options": work.model_dump_json(),
        **model.attributes(seed),
        **({} if chosen is None else {"data_sha256": chosen.digest}),
    }

    def draw(index: Tensor, condition: Tree | None = None) -> Batch:
        return model.draw(index, seed, condition)

    def write(work: Callable[[Tensor], Batch], n: int, description: Mapping[str, Any]) -> None:
        target = Target(plugin, Path(out), description, attributes)
        done = stream(work, n, target, batch_size=model.at_once(work, n), screen=screen, what=name)
        screen.say(str(done.throughput))

    job = Job(model.generator, chosen, Path(out), seed, model.device, attributes, draw, write, screen.progress)
    return Performed(Path(out), tuple(work.perform(job)))
