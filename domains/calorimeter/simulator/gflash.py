"""The embedded simulator: parametrised electromagnetic showers after GFLASH, in any voxel geometry.

This is a parametrisation (Grindhammer and Peters, hep-ex/0001020), not a transport code: it has no lines of
annihilation or of atomic shells and no correlations between neighbouring spots. Its files say "parametrised".

A longitudinal profile is drawn for each shower. Each step in depth, of at most one radiation length, gets the energy
dE that the profile has there. Where only active plates count, it fluctuates: a gamma distribution of mean dE and
variance c^2 dE, energies in GeV. A step's energy is divided equally among spots, whose radii are drawn from the radial
profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, log
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from ....core.data import Batch
from ....core.errors import ConfigError
from ....core.noise import KeyedNoise
from ....data_specs.calorimeter.geometry import Geometry, Medium, PolarLayer
from ....data_specs.calorimeter.geometry_json import geometry_to_json
from ....data_specs.calorimeter.resolve import named_geometry
from ....data_specs.errors import DataError
from ...plugin import SimulatorConfig
from .media import CALORIMETERS, Calorimeter
from .parametrisation import Parametrisation, Radial

LOWEST_ENERGY = 0.5  # GeV; the parametrisation was fitted above, and fluctuates without bound below
HIGHEST_ENERGY = 200.0  # GeV; beyond what the parametrisation was fitted to, its logarithms are an extrapolation
_TRIES = 12  # draws of a profile's two parameters; at 0.5 GeV one in sixty has to be repeated
_GROUP_SPOTS = 40_000  # spots computed at once: as many as stay in a CPU's cache
_DUST = 1e-6  # fraction of the shower's energy below which a step has no spot

CalorimeterName = Literal["tungsten-silicon", "lead-argon", "lead-tungstate"]
_USUAL: Mapping[str, CalorimeterName] = {
    "calogan": "lead-argon",
    "ds2": "tungsten-silicon",
    "ds3": "tungsten-silicon",
}


class GflashConfig(SimulatorConfig):
    """The showers that `maquette simulate calorimeter` makes."""

    geometry: str = Field("calogan", description="known name or XML file")
    calorimeter: CalorimeterName | None = Field(None, description="by default that of a known geometry")
    layer_depth: float | None = Field(None, gt=0, description="mm per layer, where the geometry does not have it")
    particle: Literal["e", "gamma"] = "e"
    energy: tuple[float, float] = Field((1.0, 10.0), description="GeV, drawn log-uniformly in between; files hold MeV")
    sampled: bool | None = Field(
        None, description="only deposits in active plates count; by default so where cells are read out (ds2, ds3)"
    )

    @field_validator("energy")
    @classmethod
    def _energies(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not LOWEST_ENERGY <= low <= high <= HIGHEST_ENERGY:
            raise ValueError(
                f"expected lowest and highest energy in GeV (not MeV, as in files), {LOWEST_ENERGY:g} <= lowest <= "
                f"highest <= {HIGHEST_ENERGY:g}, where the parametrisation holds"
            )
        return value

    def build(self) -> Gflash:
        """Return the simulator; raises `ConfigError` for a geometry without the depths of its layers."""
        try:
            geometry = named_geometry(self.geometry)
        except DataError as error:
            raise ConfigError(f"geometry: {error}") from None
        name = self.calorimeter or _USUAL.get(geometry.name)
        if name is None:
            known = ", ".join(CALORIMETERS)
            raise ConfigError(f"calorimeter: give the material of {geometry.name}, calorimeter=NAME; known: {known}.")
        calorimeter = CALORIMETERS[name]
        if self.layer_depth is not None or geometry.medium is None:
            material = calorimeter.material
            medium = Medium(material.radiation_length, material.moliere_radius, self.layer_depth)
            geometry = replace(geometry, medium=medium, z_edges=None if self.layer_depth else geometry.z_edges)
        if geometry.depth_edges is None:
            raise ConfigError(f"layer_depth: {geometry.name} lacks the depths of its layers; give layer_depth=MM.")
        sampled = geometry.name in ("ds2", "ds3") if self.sampled is None else self.sampled
        return Gflash(geometry, calorimeter, self.particle, self.energy, sampled and calorimeter.stack is not None)


@dataclass(frozen=True)
class Gflash:
    """Parametrised showers in a geometry.

    Args:
        geometry: with depths of its layers.
        calorimeter: what the layers are made of.
        particle: "e", or "gamma" (which starts to shower after 9/7 X0 on average).
        energy: lowest and highest incident energy, GeV, log-uniform in between.
        sampled: deposits fluctuate like the signal of the active plates.

    >>> simulator = GflashConfig(geometry="calogan").build()
    >>> simulator
    Gflash(calogan, Pb/liquid Ar, particle=e, energy=1 .. 10 GeV, sampled=False)
    >>> showers = simulator.simulate(range(3), seed=0)
    >>> showers.x.shape, showers.condition["energy"].shape
    (torch.Size([3, 504]), torch.Size([3, 1]))
    """

    geometry: Geometry
    calorimeter: Calorimeter
    particle: Literal["e", "gamma"] = "e"
    energy: tuple[float, float] = (1.0, 10.0)
    sampled: bool = False

    def __repr__(self) -> str:
        low, high = self.energy
        return (
            f"{type(self).__name__}({self.geometry.name}, {self.calorimeter.material.name}, particle={self.particle}, "
            f"energy={low:g} .. {high:g} GeV, sampled={self.sampled})"
        )

    @property
    def description(self) -> Mapping[str, Any]:
        """Geometry, conditions and engine of the showers, for a writer."""
        plates = ", active plates only" if self.sampled else ""
        engine = f"parametrised: GFLASH (hep-ex/0001020), {self.particle} in {self.calorimeter.material.name}{plates}"
        return {"geometry": geometry_to_json(self.geometry), "conditions": ["energy"], "engine": engine}

    def simulate(self, index: Tensor | Sequence[int], seed: int) -> Batch:
        """Return showers (B, voxels) float32 MeV, and {"energy": (B, 1) float32 MeV}, of the given global indices.

        A shower depends on its index and the seed only, not on the others of the batch.
        """
        index = torch.as_tensor(index, dtype=torch.int64, device="cpu")
        noise = KeyedNoise(seed, index, stream="gflash")
        low, high = (log(edge) for edge in self.energy)
        energy = torch.exp(low + (high - low) * noise.uniform("energy", (1,)))
        showers = index.new_zeros((len(index), self.geometry.n_voxels), dtype=torch.float32)
        with _one_thread():
            for rows in self._groups(energy):
                self._deposit(showers, rows, energy[rows], noise.at(index=index[rows]))
        if self.geometry.threshold:
            torch.threshold_(showers, self.geometry.threshold, 0.0)
        return Batch(showers, {"energy": 1000 * energy}, index)

    def _groups(self, energy: Tensor) -> Iterator[Tensor]:
        """Batch indices in groups of similar energy, so of a similar number of spots; a group fits the cache."""
        order = energy[:, 0].argsort()
        profile = self._formulas.draw(energy, energy.new_zeros(len(energy), 1, 2))
        most = self._formulas.spots(energy, profile)[0][order, 0].tolist()
        stop = len(order)
        while stop > 0:
            size = min(stop, max(1, int(_GROUP_SPOTS / (most[stop - 1] + self._steps[0].numel()))))
            yield order[stop - size : stop]
            stop -= size

    def _deposit(self, showers: Tensor, rows: Tensor, energy: Tensor, noise: KeyedNoise) -> None:
        """Add the deposits of some showers; energy (B, 1) GeV."""
        formulas, (edges, layer_of_step) = self._formulas, self._steps
        t = edges.to(energy)
        if self.particle == "gamma":
            t = (t + 9 / 7 * torch.log(noise.uniform("conversion", (1,)))).clamp_min(0)
        else:
            t = t.expand(len(energy), -1)
        profile = formulas.draw(energy, noise.normal("profile", (_TRIES, 2)))
        deposits = 1000 * energy * profile.within(t).diff(dim=1)
        if self.sampled:
            scale = 1000 * self.calorimeter.sampling**2
            deposits = scale * gamma_variates(deposits / scale, noise.fold("sampling"))
        number, spread = formulas.spots(energy, profile)
        counts = (number * spread.within(t).diff(dim=1)).round().clamp_min(1).long()
        counts = counts * (deposits > _DUST * 1000 * energy)
        middle = (t[:, 1:] + t[:, :-1]) / 2
        radial = formulas.radial(formulas.relative_depth(middle, energy, profile), energy)

        # spots of all showers one after the other; `step` says which (shower, step) each belongs to
        flat = counts.flatten()
        step = torch.repeat_interleave(torch.arange(len(flat)), flat)
        shower = torch.div(step, counts.shape[1], rounding_mode="floor")
        per_shower = counts.sum(dim=1)
        position = torch.arange(len(step)) - (per_shower.cumsum(0) - per_shower)[shower]
        u = noise.uniform("spots", (int(per_shower.max()), 2))[shower, position]
        radius = self._moliere_radius * _radii(u[:, 0], radial, step)
        energy_of_spot = (deposits / counts.clamp_min(1)).flatten()[step]
        layer = layer_of_step[step % counts.shape[1]]
        voxel = self._voxels(layer, radius, u[:, 1])
        hit = voxel >= 0
        showers.view(-1).index_add_(0, (rows[shower] * showers.shape[1] + voxel)[hit], energy_of_spot[hit])

    def _voxels(self, layer: Tensor, radius: Tensor, turn: Tensor) -> Tensor:
        """Position in the shower of spots at a radius (mm) and an angle (turns) in a layer; -1 outside all cells."""
        voxel = torch.full_like(layer, -1)
        for members, grid in self._grids:
            some = slice(None) if len(self._grids) == 1 else torch.isin(layer, members).nonzero()[:, 0]
            inside = grid.cell(radius[some], turn[some])
            voxel[some] = torch.where(inside >= 0, self._first_voxel[layer[some]] + inside, inside)
        return voxel

    @property
    def _moliere_radius(self) -> float:
        if self.geometry.medium is None:
            raise ConfigError(f"geometry: {self.geometry.name} needs a medium with a Moliere radius.")
        return self.geometry.medium.moliere_radius

    @cached_property
    def _formulas(self) -> Parametrisation:
        return Parametrisation(self.calorimeter)

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """(edges of the steps (S + 1,), X0; layer of each step (S,)): layers cut into steps of at most one X0."""
        depths = self.geometry.depth_edges
        if depths is None:
            raise ConfigError(f"geometry: {self.geometry.name} needs the depths of its layers.")
        depths = depths / self.calorimeter.material.radiation_length
        edges, layers = [depths[0]], []
        for i, (start, stop) in enumerate(pairwise(depths)):
            count = ceil(stop - start)
            edges += [start + (stop - start) * (k + 1) / count for k in range(count)]
            layers += count * [i]
        return torch.tensor(np.array(edges), dtype=torch.float32), torch.tensor(layers)

    @cached_property
    def _first_voxel(self) -> Tensor:
        return torch.tensor([part.start for part in self.geometry.slices])

    @cached_property
    def _grids(self) -> Sequence[tuple[Tensor, _Grid]]:
        """Layers with equal cells, and those cells."""
        alike: dict[_Grid, list[int]] = {}
        for i, layer in enumerate(self.geometry.layers):
            if isinstance(layer, PolarLayer):
                grid = _Grid(True, layer.r_edges, layer.n_alpha)
            else:
                grid = _Grid(False, layer.x_edges, 0, layer.y_edges)
            alike.setdefault(grid, []).append(i)
        return [(torch.tensor(members), grid) for grid, members in alike.items()]


@dataclass(frozen=True)
class _Grid:
    """Cells of a layer; finds the one at a point."""

    polar: bool
    first_edges: tuple[float, ...]
    n_alpha: int = 0
    second_edges: tuple[float, ...] = ()

    def cell(self, radius: Tensor, turn: Tensor) -> Tensor:
        """Index of the cell at a radius (mm) and an angle (turns, 0 .. 1), -1 if there is none."""
        if self.polar:
            slow = (turn * self.n_alpha).long().clamp_max(self.n_alpha - 1)
            fast, inside, n_fast = _bin(radius, self.first_edges)
        else:
            angle = 2 * torch.pi * turn
            slow, inside_slow, _ = _bin(radius * torch.cos(angle), self.first_edges)
            fast, inside_fast, n_fast = _bin(radius * torch.sin(angle), self.second_edges)
            inside = inside_slow & inside_fast
        return torch.where(inside, slow * n_fast + fast, -1)


def _bin(x: Tensor, edges: tuple[float, ...]) -> tuple[Tensor, Tensor, int]:
    """(bin of each x, whether it lies in one, number of bins)."""
    n = len(edges) - 1
    index = torch.bucketize(x, torch.tensor(edges, dtype=x.dtype), right=True) - 1
    return index, (index >= 0) & (index < n), n


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: tensors that fit its cache gain less from more threads than synchronisation costs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _radii(u: Tensor, radial: Radial, step: Tensor) -> Tensor:
    """Radii of spots, R_M, by inversion: u below the core's fraction selects the core."""
    core = radial.core.flatten()[step]
    in_core = u < core
    v = torch.where(in_core, u / core.clamp_min(1e-12), (u - core) / (1 - core).clamp_min(1e-12)).clamp(0, 1 - 1e-6)
    scale = torch.where(in_core, radial.r_core.flatten()[step], radial.r_tail.flatten()[step])
    return scale * torch.sqrt(v / (1 - v))


def gamma_variates(shape: Tensor, noise: KeyedNoise, rounds: int = 4) -> Tensor:
    """Gamma(shape, 1) variates, (B, S), after Marsaglia and Tsang, ACM Trans. Math. Softw. 26 (2000) 363.

    The number of rounds is fixed, so that each draw has its own key; one in 10^6 is a proposal that was not accepted.
    Shapes below one are raised by one and the result multiplied by u^(1/shape).

    >>> noise = KeyedNoise(0, torch.arange(2000))
    >>> x = gamma_variates(torch.full((2000, 1), 4.0), noise)
    >>> (x.mean() - 4).abs() < 0.2, (x.var() - 4).abs() < 0.5
    (tensor(True), tensor(True))
    """
    d = shape + (shape < 1) - 1 / 3
    x = noise.normal("normal", (rounds, shape.shape[1]))
    u = noise.uniform("uniform", (rounds + 1, shape.shape[1]))
    v = (1 + x / (3 * d[:, None].sqrt())) ** 3
    accepted = (v > 0) & (torch.log(u[:, :rounds]) < x**2 / 2 + d[:, None] * (1 - v + torch.log(v.clamp_min(1e-30))))
    first = accepted.to(torch.uint8).argmax(dim=1, keepdim=True)
    result = d * v.gather(1, first)[:, 0].clamp_min(0)
    return torch.where(shape < 1, result * u[:, rounds] ** (1 / shape.clamp_min(1e-30)), result)
