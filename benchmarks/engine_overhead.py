"""Measures the overhead of the engine: a fit against a bare torch loop over the same network, data and optimiser.

    python benchmarks/engine_overhead.py [--width 512] [--depth 4] [--batch 512] [--steps 60] [--compile]

Both train the same denoiser (504 features a sample, as many as a CaloGAN shower has voxels) with fused AdamW and
clipped gradients. The bare loop draws its noise with `torch.randn` and its batches with `randint`; the engine keys
both, sums weights and metrics, checks that losses and gradients are finite, and writes its loss file every ten steps.
A third loop is bare except for keyed noise, to measure how much of the difference is due to noise. With --compile the
draws of noise are compiled, as in a fit with `training.parallel.compile`; networks stay as they are. The loops
alternate, so that a busy machine slows all of them; the figures are ratios of the median times per step. Checkpoints
are left out, because their interval is a choice.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from maquette.core.data import Batch, Source, TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import CheckpointConfig, OptimizerConfig, TrainingConfig
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.philox import compiled_draws
from torch import nn

DIM = 504
LOG_EVERY = 10
"""Steps between two rows of the loss file, and between two looks at the clock."""


def network(width: int, depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.SiLU())]
    return nn.Sequential(nn.Linear(DIM, width), nn.SiLU(), *hidden, nn.Linear(width, DIM))


class Denoising(Objective):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses((self.network(batch.x + noise.normal("x", (DIM,))) - batch.x).square().mean(1))


class Stopwatch:
    """Records when rows are written."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self.times.append(time.perf_counter())

    def checkpoint(self, step: int) -> None:
        pass


def engine(stages: list[Stage], source: Source, batch: int, steps: int, device: str = "cpu") -> list[float]:
    """Seconds per step of a fit, a value for every `LOG_EVERY` steps."""
    options = OptimizerConfig(clip=1.0, schedule="constant")
    rare = CheckpointConfig(every=10**9)
    training = TrainingConfig(steps=steps, batch_size=batch, optimizer=options, checkpoint=rare, log_every=LOG_EVERY)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        fit(training.plan(stages), source, folder, seed=0, device=device, listeners=[watch])
    return [(after - before) / LOG_EVERY for before, after in pairwise(watch.times)]


def bare(net: nn.Module, data: torch.Tensor, batch: int, steps: int, *, keyed: bool) -> list[float]:
    """Seconds per step, a value for every `LOG_EVERY` steps."""
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
    times: list[float] = []
    for step in range(steps):
        index = torch.randint(len(data), (batch,))
        x = data[index]
        noise = KeyedNoise(0, index, step=step).normal("x", (DIM,)) if keyed else torch.randn(x.shape)
        loss = (net(x + noise) - x).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % LOG_EVERY == 0:
            times.append(time.perf_counter())
    return [(after - before) / LOG_EVERY for before, after in pairwise(times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 512), ("depth", 4), ("batch", 512), ("steps", 60), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    with compiled_draws(options.compile):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    data = torch.randn(20_000, DIM)
    times: dict[str, list[float]] = {"bare loop": [], "bare loop with keyed noise": [], "engine": []}
    for _ in range(options.repeats):
        for name, seconds in times.items():
            net = network(options.width, options.depth)
            if name == "engine":
                stage = Stage("fit", (Player("model", Denoising(net), (net,)),))
                steps = engine([stage], TensorSource(data), options.batch, options.steps)
            else:
                steps = bare(net, data, options.batch, options.steps, keyed="keyed" in name)
            seconds += steps
    medians = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
    for name, milliseconds in medians.items():
        print(f"{name:28s} {milliseconds:8.2f} ms/step   ratio {milliseconds / medians['bare loop']:.3f}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
