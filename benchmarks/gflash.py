"""Measures the embedded simulator: showers per second, depths of the maximum, radii, resolution, containment.

    python benchmarks/gflash.py [--data geant4_ds2_eminus_train.h5] [--threads 2]

With a file of full transport in the same tungsten and silicon stack, its values are printed below.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from maquette.core.data import Batch
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, Medium, PolarLayer
from maquette.domains.calorimeter.batches import deposits, incident_energy
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.metrics.profiles import containment_radius, shower_maximum
from maquette.domains.calorimeter.simulator.gflash import Gflash, GflashConfig
from maquette.domains.calorimeter.simulator.media import CALORIMETERS
from torch import Tensor

PUBLISHED_CRITICAL_ENERGY = 9.64  # MeV, lead tungstate
SHOWERS = 10_000
RADII = np.linspace(0, 5, 101)  # Moliere radii


def speed() -> None:
    simulator = GflashConfig(geometry="ds2").build()
    simulator.simulate(range(1000), seed=0)
    rates = []
    for repeat in range(5):
        clock, cpu = time.perf_counter(), time.process_time()
        simulator.simulate(range(5000 * repeat, 5000 * (repeat + 1)), seed=0)
        rates.append((5000 / (time.perf_counter() - clock), 5000 / (time.process_time() - cpu)))
    wall, busy = np.median(rates, axis=0)
    print(f"W/Si, 1-10 GeV, 6480 voxels: {wall:,.0f} showers/s ({busy:,.0f} per second of one busy core)")


def simulated(batch: Batch) -> tuple[Tensor, Tensor]:
    """Deposits (B, voxels) and incident energies (B,), MeV."""
    return deposits(batch.x), incident_energy(batch.condition)[:, 0]


def figures(showers: Tensor, energies: Tensor, edges: np.ndarray, rings: np.ndarray) -> dict[str, float]:
    """Of showers (n, layers, sectors, rings) with incident energies (n,), MeV."""
    response = showers.sum((1, 2, 3)) / energies
    return {
        "t_max": shower_maximum(showers.sum((2, 3)).mean(0), edges),
        "R90": containment_radius(showers.sum((0, 1, 2)), rings),
        "response": response.mean().item(),
        "resolution": (response.std() / response.mean()).item(),
    }


def against_transport(data: Path | None) -> None:
    truth = None
    if data is not None:
        dataset = ShowerDataset(data, "ds2")
        truth = dataset.fetch(torch.arange(len(dataset)))
    print("\nW/Si, electrons: t_max / X0, R90 / R_M within 3.85 R_M, response, resolution; full transport below")
    for energy, width in ((1.1, 0.1), (2.0, 0.2), (5.0, 0.5), (9.3, 0.6)):
        simulator = GflashConfig(geometry="ds2", energy=(energy - width, energy + width)).build()
        medium = simulator.geometry.medium
        assert medium is not None
        edges = np.arange(46) * 3.4 / medium.radiation_length
        rings = np.arange(10) * 4.65 / medium.moliere_radius
        showers, incident = simulated(simulator.simulate(range(SHOWERS), seed=1))
        print(f"  {energy:4.1f} GeV", _row(figures(showers.view(-1, 45, 16, 9), incident, edges, rings)))
        if truth is not None:
            incident = truth.condition["energy"][:, 0]
            near = (incident - 1000 * energy).abs() < 1000 * width
            print("          ", _row(figures(truth.x[near].view(-1, 45, 16, 9), incident[near], edges, rings)))


def _row(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def lead_tungstate() -> None:
    print(f"\nPbWO4: t_max / X0 and ln(E/Ec) -/+ 0.5 (Ec {PUBLISHED_CRITICAL_ENERGY} MeV), R90 / R_M within 5 R_M")
    calorimeter = CALORIMETERS["lead-tungstate"]
    material = calorimeter.material
    edges = tuple((RADII * material.moliere_radius).tolist())
    medium = Medium(material.radiation_length, material.moliere_radius, material.radiation_length / 2)
    geometry = Geometry("block", tuple(PolarLayer(i, edges, 1) for i in range(60)), medium=medium)
    for particle, offset in (("e", -0.5), ("gamma", 0.5)):
        for energy in (0.5, 1.0, 2.0, 5.0, 10.0, 50.0):
            showers, _ = simulated(
                Gflash(geometry, calorimeter, particle, (energy, energy)).simulate(range(3000), seed=1)
            )
            shape = showers.view(-1, 60, 100).double().mean(0)
            depth = shower_maximum(shape.sum(1), np.arange(61) / 2)
            expected = math.log(1000 * energy / PUBLISHED_CRITICAL_ENERGY) + offset
            radius = containment_radius(shape.sum(0), RADII)
            print(f"  {particle:5s} {energy:4.1f} GeV  t_max {depth:.3f} ({depth - expected:+.3f})  R90 {radius:.3f}")


def containment() -> None:
    print("\nFraction of the energy in a block of 30 X0 and 10 x 10 R_M, by incident energy in GeV")
    for name, calorimeter in CALORIMETERS.items():
        material = calorimeter.material
        side = (-5 * material.moliere_radius, 5 * material.moliere_radius)
        medium = Medium(material.radiation_length, material.moliere_radius)
        z = (0.0, 30 * material.radiation_length)
        block = Geometry("block", (CartesianLayer(0, side, side),), medium=medium, z_edges=z)
        fractions = []
        for energy in (0.5, 1.0, 2.0, 5.0, 10.0):
            showers, incident = simulated(
                Gflash(block, calorimeter, "e", (energy, energy)).simulate(range(3000), seed=1)
            )
            fractions.append(f"{energy:g}: {showers.double().sum() / incident.double().sum():.4f}")
        print(f"  {name:17s}", "  ".join(fractions))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="full transport in the same stack, to compare with")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    speed()
    against_transport(arguments.data)
    lead_tungstate()
    containment()
