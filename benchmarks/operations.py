"""Counts operations on tensors: of a draw of noise, and of a training step outside network and backward pass.

    python benchmarks/operations.py [--device cpu] [--names]

Each operation that torch dispatches is one kernel on a GPU, unless it only looks at memory in another way; such views
are not counted, nor are networks and the backward pass, whose operations are the model's own. A second column counts
the integer part of a draw of noise as one, as it is on a GPU, where it is compiled.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from engine_overhead import DIM, Denoising, network
from maquette.core import philox
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import CheckpointConfig, OptimizerConfig, TrainingConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.noise import KeyedNoise
from maquette.core.objective import Player, Stage
from maquette.core.spaces import Vector
from maquette.core.testing.operations import OperationCount


def denoising() -> list[Stage]:
    net = network(width=16, depth=1)
    return [Stage("fit", (Player("model", Denoising(net), (net,)),))]


def flow_matching() -> list[Stage]:
    return FlowMatchingConfig().build(Vector(dim=DIM)).stages()


@contextmanager
def compiled(count: OperationCount) -> Iterator[None]:
    """Count the integer part of a draw as one operation."""

    def once(plain: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            count.counts["compiled noise"] += 1
            with count.paused():
                return plain(*given)

        return counted

    with (
        patch.object(philox.fractions, "function", once(philox.fractions.function)),
        patch.object(philox.uniforms, "function", once(philox.uniforms.function)),
    ):
        yield


def step(build: Callable[[], list[Stage]], device: str, *, gpu: bool) -> Counter[str]:
    """Operations of one step of a fit with clipped gradients and averaged weights, without network and backward."""

    def total(steps: int) -> Counter[str]:
        stages = build()
        training = TrainingConfig(
            steps=steps,
            batch_size=16,
            optimizer=OptimizerConfig(clip=1.0),
            ema_decay=0.99,
            log_every=10**9,
            checkpoint=CheckpointConfig(every=10**9),
        )
        networks = [network for stage in stages for player in stage.players for network in player.networks]
        source = TensorSource(torch.zeros(1000, DIM))
        count = OperationCount()
        with (
            tempfile.TemporaryDirectory() as folder,
            count.without(networks),
            count,
            compiled(count) if gpu else nullcontext(),
        ):
            fit(training.plan(stages), source, folder, seed=0, device=device)
        return count.counts

    first, second = total(5), total(15)
    second.subtract(first)
    return Counter({name: round(n / 10) for name, n in second.items() if n >= 10})


def draw(distribution: str, device: str, *, gpu: bool) -> Counter[str]:
    """Operations of one draw of noise."""
    noise = KeyedNoise(0, torch.arange(16, device=device))
    getattr(noise, distribution)("x", (8,))  # keys are kept
    with OperationCount() as count, compiled(count) if gpu else nullcontext():
        getattr(noise, distribution)("x", (8,))
    return count.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--names", action="store_true", help="print each operation's count, too")
    options = parser.parse_args()
    measured = {
        "a normal draw": partial(draw, "normal"),
        "a uniform draw": partial(draw, "uniform"),
        "a step of denoising": partial(step, denoising),
        "a step of flow matching": partial(step, flow_matching),
    }
    for name, count in measured.items():
        plain, gpu = (count(options.device, gpu=gpu) for gpu in (False, True))
        print(f"{name:24s} {plain.total():5d} operations, {gpu.total():5d} with compiled noise")
        if options.names:
            print("  " + ", ".join(f"{operation.removeprefix('aten.')} {n}" for operation, n in gpu.most_common()))


if __name__ == "__main__":
    main()
