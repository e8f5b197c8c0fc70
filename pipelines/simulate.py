"""`maquette simulate`: samples of a domain's embedded simulator, streamed to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..core.config import override, parse
from ..core.data import Batch
from ..domains import domains
from .arguments import check_seed
from .console.screen import Screen, Silent
from .streaming import Generated, Target, stream

BATCH_SIZE = 1000


def simulate(
    domain: str,
    *,
    n: int,
    seed: int = 0,
    out: str | Path,
    overrides: Sequence[str] = (),
    batch_size: int | None = None,
    screen: Screen | None = None,
) -> Generated:
    """Simulate samples and write them to a file of the domain's data spec.

    Args:
        domain: name of the domain.
        n: how many.
        seed: it decides the sample, together with the sample's index.
        out: the file; an unfinished one of the same command is continued.
        overrides: KEY=VALUE words for the simulator's config.
        batch_size: samples simulated at once; 1,000 if not given.
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ConfigError, DataError: bad input.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     simulate("calorimeter", n=100, out=f"{folder}/ds2.h5", overrides=["geometry=ds2", "energy=[1,10]"]).n  # GeV
    100
    """
    plugin, seed = domains.get(domain), check_seed(seed)
    config = parse(plugin.simulator, override({}, list(overrides)), where="simulator")
    simulator = config.build()

    def draw(index: Tensor) -> Batch:
        return simulator.simulate(index, seed)

    attributes = {"made_by": "maquette simulate", "simulator": config.model_dump_json(), "seed": seed}
    target = Target(plugin, Path(out), simulator.description, attributes)
    screen = screen or Silent()
    screen.table(f"file: {out}", ("what", "value"), plugin.describe(simulator.description))
    return stream(draw, n, target, batch_size=batch_size or BATCH_SIZE, screen=screen, what="simulate")
