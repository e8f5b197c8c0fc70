"""`maquette simulate`: samples of a domain's embedded simulator, streamed to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..core.config import override, parse
from ..core.data import Batch
from ..core.errors import ConfigError
from ..core.memory import bytes_of, samples_at_once
from ..domains import domains
from .arguments import check_seed, resolve_device
from .console.screen import Screen, Silent
from .streaming import Generated, Target, stream

WORKING_NUMBERS = 32
"""Memory that a simulator is taken to need per sample, in multiples of the sample itself."""


def simulate(
    domain: str,
    *,
    n: int,
    seed: int = 0,
    out: str | Path,
    overrides: Sequence[str] = (),
    batch_size: int | None = None,
    device: str = "auto",
    screen: Screen | None = None,
) -> Generated:
    """Simulate samples and write them to a file of the domain's data spec.

    Args:
        domain: name of the domain.
        n: how many.
        seed: it decides the sample, together with the sample's index.
        out: the file; an unfinished one of the same command is continued.
        overrides: KEY=VALUE words for the simulator's config.
        batch_size: samples simulated at once. If not given, as many as fit into `core.memory.WORKING_BYTES` when each
            takes `WORKING_NUMBERS` times its own bytes, at most 1,000 on a CPU.
        device: "auto" (a GPU if there is one and the simulator runs on it), "cpu", "cuda" or "cuda:NUMBER".
        screen: where progress and results are shown; nowhere if not given.

    Raises:
        ConfigError, DataError: bad input, such as a device that the simulator does not run on.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     simulate("calorimeter", n=100, out=f"{folder}/ds2.h5", overrides=["geometry=ds2", "energy=[1,10]"]).n  # GeV
    100
    """
    plugin, seed = domains.get(domain), check_seed(seed)
    config = parse(plugin.simulator, override({}, list(overrides)), where="simulator")
    torch_device = _device(device, config.devices, domain)
    simulator = config.build()

    def draw(index: Tensor) -> Batch:
        return simulator.simulate(index.to(torch_device), seed).to("cpu")

    attributes = {"made_by": "maquette simulate", "simulator": config.model_dump_json(), "seed": seed}
    target = Target(plugin, Path(out), simulator.description, attributes)
    screen = screen or Silent()
    screen.table(f"file: {out}", ("what", "value"), plugin.describe(simulator.description))
    if batch_size is None:
        each = WORKING_NUMBERS * bytes_of(draw(torch.arange(1))) if n > 1 else 0
        batch_size = samples_at_once(torch_device, each)
    return stream(draw, n, target, batch_size=batch_size, screen=screen, what="simulate")


def _device(name: str, devices: Sequence[str], domain: str) -> torch.device:
    """The device to simulate on; raises `ConfigError` for one that is not there or that the simulator does not use."""
    kind = name.partition(":")[0]
    if kind in ("cpu", "cuda") and kind not in devices:
        raise ConfigError(
            f"--device {name}: the simulator of {domain} runs on {' and '.join(devices)} only; leave --device out."
        )
    found = resolve_device(devices[0] if name == "auto" and "cuda" not in devices else name)
    return found if found.type in devices else resolve_device(devices[0])
