"""Held-out log-likelihood of flows on tables: two-dimensional toys, and the layer energies of showers.

    benchmarks/flow_tables.py [--table TABLE ...] [--flow FLOW ...] [--minutes 2] [--data FOLDER]

Every flow trains for the same time in the same loop: Adam, a learning rate that decays along a cosine, and the weights
that were best on a validation split. zuko's MAF and NSF with their default sizes are among them. A figure is the mean
of log p over held-out samples in nats, with its standard error; higher is better. All flows have a normal base; log p
is exact, for `continuous` up to the tolerance of its ODE solver.

Tables: "moons", "rings" and "checkerboard" in the plane; "layers", the energies of the 45 layers of a calorimeter given
the energy of the incident electron, from `calorimeter/geant4_ds2_eminus_train.h5` (the last 4,000 showers are held out,
the 1,000 before them are for validation). Features are logarithms of layer energies. An empty layer gets an energy
drawn log-uniformly, with a fixed seed, from the decade below the smallest energy in the file, so that densities stay
finite. All features have mean 0 and deviation 1 over the training split; densities are of these features.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
import zuko
from maquette.core.data import Batch
from maquette.core.families import FamilyConfig
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.flows.monotonic import MonotonicConfig
from maquette.core.families.flows.planar import PlanarConfig
from maquette.core.families.flows.residual_flow import ResidualFlowConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.nets.mlp import MLPConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Vector
from torch import Tensor, nn

SEED, BATCH, RATE = 1, 512, 2e-3
VALIDATIONS = 12  # evaluations on the validation split during a fit

OURS: dict[str, FamilyConfig] = {
    "linear": LinearConfig(),
    "planar": PlanarConfig(),
    "coupling (NICE)": CouplingConfig(bijection="additive", hidden=(128, 128)),
    "coupling (RealNVP)": CouplingConfig(hidden=(128, 128)),
    "autoregressive-flow (MAF)": AutoregressiveFlowConfig(),
    "spline, coupling": SplineConfig(),
    "spline, autoregressive": SplineConfig(scheme="autoregressive", transforms=4),
    "monotonic": MonotonicConfig(transforms=2, hidden=(64, 64), slope=(32, 32), knots=17),
    "residual-flow": ResidualFlowConfig(steps=8),
    "continuous": ContinuousConfig(network=MLPConfig(hidden=(64, 64)), steps=4, precision=1e-5),
}
THEIRS: dict[str, Callable[..., nn.Module]] = {"zuko MAF": zuko.flows.MAF, "zuko NSF": zuko.flows.NSF}


@dataclass(frozen=True)
class Table:
    """Samples (n, D) of the training, validation and test splits, and their conditions (n, C) or None."""

    x: tuple[Tensor, Tensor, Tensor]
    condition: tuple[Tensor, Tensor, Tensor] | None = None


def split(x: np.ndarray, validation: int, test: int) -> tuple[Tensor, Tensor, Tensor]:
    """The three splits, standardised by mean and deviation of the training split, which comes first."""
    train = len(x) - validation - test
    scaled = torch.from_numpy((x - x[:train].mean(0)) / x[:train].std(0)).float()
    a, b, c = scaled.split([train, validation, test])
    return a, b, c


def moons(rng: np.random.Generator, n: int) -> np.ndarray:
    angle, arm = math.pi * rng.random(n), rng.integers(0, 2, n)
    points = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    points[arm == 1] = np.array([1.0, 0.5]) - points[arm == 1]
    return points + 0.1 * rng.standard_normal((n, 2))


def rings(rng: np.random.Generator, n: int) -> np.ndarray:
    angle, radius = 2 * math.pi * rng.random(n), rng.integers(1, 4, n) + 0.08 * rng.standard_normal(n)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)


def checkerboard(rng: np.random.Generator, n: int) -> np.ndarray:
    x, row = 4 * rng.random(n), rng.integers(0, 2, n)
    return np.stack((x, rng.random(n) + 2 * row + np.floor(x) % 2), axis=1)


TOYS = {"moons": moons, "rings": rings, "checkerboard": checkerboard}


def layers(folder: Path) -> Table:
    """The 45 layer energies."""
    with h5py.File(folder / "calorimeter" / "geant4_ds2_eminus_train.h5") as file:
        showers = file["showers"]
        energies = np.concatenate(
            [showers[i : i + 2000].reshape(-1, 45, 144).sum(2) for i in range(0, len(showers), 2000)]  # type: ignore[index]
        ).astype(np.float64)
        incident = np.log(np.asarray(file["incident_energies"], dtype=np.float64)).reshape(-1, 1)
    least = energies[energies > 0].min()
    filling = least * 10.0 ** -np.random.default_rng(SEED).random(energies.shape)
    return Table(split(np.log(np.where(energies > 0, energies, filling)), 1000, 4000), split(incident, 1000, 4000))


def table(name: str, folder: Path) -> Table:
    if name == "layers":
        return layers(folder)
    return Table(split(TOYS[name](np.random.default_rng(SEED), 60_000), 2000, 8000))


@dataclass(frozen=True)
class Contender:
    """A flow to be fitted: its module, loss(x, condition, step) and log_prob(x, condition)."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor | None, int], Tensor]
    log_prob: Callable[[Tensor, Tensor | None], Tensor]


def contender(name: str, dim: int, context: int) -> Contender:
    torch.manual_seed(SEED)
    if name in THEIRS:
        flow = THEIRS[name](dim, context)
        log_prob = lambda x, c: flow(c).log_prob(x)  # noqa: E731
        # per dimension, as ours, or gradient clipping would act on it more strongly
        return Contender(flow, lambda x, c, step: -log_prob(x, c).mean() / dim, log_prob)
    model = OURS[name].build(Vector(dim=dim), Vector(dim=context) if context else None)
    objective = model.stages()[0].players[0].objective  # type: ignore[operator]

    def loss(x: Tensor, c: Tensor | None, step: int) -> Tensor:
        index = torch.arange(len(x))
        return objective(Batch(x, c, index), KeyedNoise(SEED, index, step=step)).losses.mean()

    return Contender(model, loss, model.log_prob)  # type: ignore[arg-type]


@torch.no_grad()
def held_out(flow: Contender, data: Table, part: int) -> Tensor:
    """log p of each sample of a split, (n,), nats."""
    flow.module.eval()
    samples = data.x[part].split(1000)
    conditions = data.condition[part].split(1000) if data.condition else [None] * len(samples)
    found = torch.cat([flow.log_prob(x, c) for x, c in zip(samples, conditions, strict=True)])
    flow.module.train()
    return found.double()


def batches(data: Table) -> Iterator[tuple[Tensor, Tensor | None]]:
    generator = torch.Generator().manual_seed(SEED)
    while True:
        for index in torch.randperm(len(data.x[0]), generator=generator).split(BATCH):
            yield data.x[0][index], data.condition[0][index] if data.condition else None


def fit(flow: Contender, data: Table, minutes: float) -> tuple[Tensor, int]:
    """log p of the test samples after so many minutes of training, and the number of steps."""
    optimizer = torch.optim.Adam(flow.module.parameters(), RATE)
    spent, step, due, best = 0.0, 0, 1, (-math.inf, flow.module.state_dict())
    for x, c in batches(data):
        progress = min(spent / (60 * minutes), 1.0)
        if progress >= due / VALIDATIONS:
            score = held_out(flow, data, 1).mean().item()
            if score > best[0]:
                best = score, {name: tensor.clone() for name, tensor in flow.module.state_dict().items()}
            due += 1
        if progress == 1:
            break
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.zero_grad()
        flow.loss(x, c, step).backward()
        nn.utils.clip_grad_norm_(flow.module.parameters(), 5.0)
        optimizer.step()
        spent, step = spent + time.perf_counter() - start, step + 1
    flow.module.load_state_dict(best[1])
    return held_out(flow, data, 2), step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(os.environ.get("MAQUETTE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    flows = [*OURS, *THEIRS]
    parser.add_argument("--table", nargs="+", choices=[*TOYS, "layers"], default=[*TOYS, "layers"])
    parser.add_argument("--flow", nargs="+", choices=flows, default=flows)
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, for each flow on each table")
    parser.add_argument("--data", type=Path, default=folder, help="folder that holds calorimeter/")
    options = parser.parse_args()
    print(f"| table | flow | held-out nats ({options.minutes:g} min each) | steps | weights |")
    print("|---|---|---|---|---|")
    for name in options.table:
        data = table(name, options.data)
        for each in options.flow:
            flow = contender(each, data.x[0].shape[1], data.condition[0].shape[1] if data.condition else 0)
            found, steps = fit(flow, data, options.minutes)
            error = found.std().item() / math.sqrt(len(found))
            size = sum(parameter.numel() for parameter in flow.module.parameters())
            print(f"| {name} | {each} | {found.mean():.3f} +- {error:.3f} | {steps} | {size:,} |", flush=True)


if __name__ == "__main__":
    main()
