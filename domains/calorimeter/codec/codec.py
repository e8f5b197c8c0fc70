"""Showers as tensors in two stages: energy and number of hits of each layer, then the position of the hits.

Stage one, the part `layers`, is a vector of 2 L features for the L layers that have cells (`layers.py`): the total
response E_total / (f E_incident) and the layer ratios as logits, and the hit counts as standard normals. A count of
zero is the explicit outcome "empty".

Stage two has a coordinate per voxel, standard normal over the data (`core/marginals.py`). Above the voxel's boundary it
is hit, with a height log(1 + w) of the excess w = e / cut - 1 above the readout threshold; below it the voxel is empty
and the coordinate is noise. Decoding turns the largest heights of a layer into hits, as many as its count says, and
scales their excesses to the layer's energy (`hits.py`): sums and counts are exact, and no hit falls below the
threshold. This loses the common scale of a layer's excesses; noise (the gauge) replaces it.

After Krause & Shih, arXiv:2106.05285 (two stages) and Ernst et al., arXiv:2312.09290 (layer ratios).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor

from ....core.data import Batch, Source
from ....core.errors import ConfigError, SpaceError
from ....core.marginals import MarginalHistogram, MarginalMap
from ....core.memory import blocks
from ....core.noise import KeyedNoise, Noise
from ....core.spaces import Product, Tree, Vector
from ....core.statistics.moments import RunningMoments
from ....data_specs.calorimeter.geometry import MIN_DEPOSIT, Geometry
from ....data_specs.calorimeter.geometry_json import geometry_from_json
from ....data_specs.errors import DataError
from ...codec import Codec, CodecConfig, VolumeCodec
from ...conditions import ConditionTable
from ...disagreement import Disagreement
from ..batches import deposits, incident_energy
from ..conditions import SHOWER_CONDITIONS
from . import volume
from .flips import flips
from .hits import excesses, place_hits
from .layers import HitCounts, LayerEnergies
from .padding import Padding

MIN_SHOWERS = 20
"""Fewest showers that a codec can be fitted to."""


class ShowerCodec(VolumeCodec):
    """The codec of one geometry; what it fits is in its buffers.

    Args:
        config: its options.
        geometry: of the showers.
        conditions: how many values a shower has of each condition.

    >>> from maquette.domains.calorimeter.dataset import ShowerDataset
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path()).rows(0, 50)
    >>> codec = ShowerCodecConfig().build(data.description)
    >>> codec.fit(data)
    >>> batch = data.fetch(torch.arange(3))
    >>> encoded = codec.encode(batch, KeyedNoise(0, batch.index))
    >>> {name: tuple(part.shape) for name, part in encoded.x.items()}
    {'layers': (3, 6), 'layer_0': (3, 1, 3, 96), 'layer_1': (3, 1, 12, 12), 'layer_2': (3, 1, 12, 6)}
    >>> showers = codec.decode(encoded.x, batch.condition)
    >>> torch.allclose(showers, batch.x, rtol=1e-3, atol=1e-3)
    True
    """

    sample_name = "showers"
    units: ClassVar[Mapping[str, str]] = {
        **{one.name: one.unit for one in SHOWER_CONDITIONS if one.unit},
        "showers": "MeV",
    }

    cut: Tensor  # (), MeV: smallest deposit of a hit

    def __init__(self, config: ShowerCodecConfig, geometry: Geometry, conditions: Mapping[str, int]) -> None:
        padding, condition_codec = Padding(geometry), ConditionTable(SHOWER_CONDITIONS, conditions)
        layers = Vector(dim=2 * padding.layers)
        super().__init__(Product(parts={"layers": layers, **padding.fields()}), condition_codec.space)
        self.config, self.geometry = config, geometry
        self.register_buffer("cut", torch.tensor(1.0))
        self.padding = padding
        self.condition_codec = condition_codec
        self.layer_energies = LayerEnergies(padding.layers)
        self.hit_counts = HitCounts(padding.layers, padding.max_cells)
        self.marginals = MarginalMap(geometry.n_voxels)

    @property
    def conditions(self) -> Mapping[str, int]:
        """How many values a shower has of each condition, in the order of `CONDITIONS`."""
        return self.condition_codec.widths

    def extra_repr(self) -> str:
        return f"geometry={self.geometry.name}, cut={self.cut.item():.4g} MeV, gauge={self.config.gauge:g}"

    # --- fitting ------------------------------------------------------------------------------------

    def fit(self, source: Source) -> None:
        """Fit the cut, f, the distributions of counts and heights, and the scales, in two passes over the source.

        Raises:
            DataError: too few showers, or none that has a deposit above the threshold.
        """
        if len(source) < MIN_SHOWERS:
            raise DataError(
                f"A fit needs at least {MIN_SHOWERS} showers to train on, found {len(source)}; give more rows."
            )
        smallest, largest, conditions = math.inf, 0.0, []
        responses = RunningMoments(())
        for batch in blocks(source):
            x, energy = deposits(batch.x), incident_energy(batch.condition)
            if (x >= self.geometry.effective_threshold).any():
                smallest = min(smallest, x[x >= self.geometry.effective_threshold].min().item())
            response = x.double().sum(1) / energy[:, 0].double()
            largest = max(largest, response.max().item())
            responses.add(response, torch.ones_like(response, dtype=torch.bool))
            conditions.append(self.condition_codec.concatenate(batch.condition))
        if not math.isfinite(smallest):
            raise DataError("The training showers hold no deposit above the readout threshold; check file and units.")
        # ideal engines write deposits down to 1e-23 MeV, which no float32 holds beside those of a GeV
        self.cut.fill_(self.geometry.effective_threshold if self.geometry.threshold else max(smallest, MIN_DEPOSIT))
        self.layer_energies.fit_response(responses, largest)
        self.condition_codec.fit(torch.cat(conditions))
        self._fit_layers_and_voxels(source, self._largest_excess(torch.cat(conditions)[:, 0].max().item()))

    def _largest_excess(self, energy: float) -> float:
        """The excess w of a hit with all that a shower of this incident energy (MeV) can deposit, f times that."""
        return self.layer_energies.max_response.item() * energy / self.cut.item()

    def _fit_layers_and_voxels(self, source: Source, largest_excess: float) -> None:
        layers, max_cells = self.padding.layers, self.padding.max_cells
        logits = RunningMoments((layers,))
        heights = MarginalHistogram(self.padding.layer, low=0.0, high=math.log1p(2 * largest_excess), resolution=1e-4)
        histogram = torch.zeros(layers, max_cells + 1, dtype=torch.float64)
        for batch in blocks(source):
            x = self._above_cut(batch)
            energies, counts = self._layers(x)
            logits.add(*self.layer_energies.logits(energies, incident_energy(batch.condition)))
            # with the gauge, as `encode` computes them: it blurs the lines of the spectrum
            heights.add(self._scaled(x, KeyedNoise(0, batch.index, "codec")).log1p(), x > 0)
            for layer, count in enumerate(counts.T):
                histogram[layer] += torch.bincount(count, minlength=max_cells + 1)
        self.layer_energies.fit(logits)
        self.marginals.fit(heights)
        self.hit_counts.fit(histogram, self.padding.sizes)

    # --- physical to tensor -------------------------------------------------------------------------

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        """Showers (B, voxels) MeV to `layers` and the fields; noise fills features that carry no information."""
        parts = self._encode_showers(batch, noise)
        return Batch(parts, self.condition_codec.encode(batch.condition), batch.index)

    def _encode_showers(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        x = self._above_cut(batch)
        energies, counts = self._layers(x)
        ratios = self.layer_energies.encode(energies, incident_energy(batch.condition), self._filling(noise))
        empty = noise.uniform("empty", (self.geometry.n_voxels,))
        voxels = self.marginals.coordinate(self._scaled(x, noise).log1p(), x > 0, empty)
        layers = torch.cat((ratios, self.hit_counts.encode(counts, noise)), dim=1)
        return {"layers": layers} | self.padding.to_fields(voxels)

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        """`encode`, and log |dy / d(x, noise)| - log q(noise), shape (B,).

        With it, log p(x) >= log p(y) + volume for one draw of the noise. The base measure of x is Lebesgue's (MeV)
        on every hit, and counting on which voxels are hit. A shower beyond f E_incident is outside the range of the
        map and has no density: its volume is -inf. Thresholding in `decode` is not part of the density.
        """
        parts = self._encode_showers(batch, noise)
        x, incident = self._above_cut(batch), incident_energy(batch.condition)
        energies, counts = self._layers(x)
        logits, defined = self.layer_energies.logits(energies, incident)
        excess, scaled, hit = excesses(x, self.cut), self._scaled(x, noise), x > 0
        total_excess = self.padding.split(excess * hit).sum(2)
        z_counts, z_voxels = parts["layers"][:, self.padding.layers :], self.padding.from_fields(parts)
        of_layers = (
            volume.energy_terms(energies, logits, defined)
            - torch.where(defined, self.layer_energies.scale[1].log(), volume.log_normal(self._filling(noise)))
            + volume.count_terms(*self.hit_counts.bounds(counts), z_counts)
            + volume.gauge_terms(total_excess, self.cut, self._gauge(noise), self.config.gauge)
        ).sum(1)
        slopes = self.marginals.log_slope(scaled.log1p(), hit, z_voxels)
        of_voxels = (slopes + volume.hit_terms(excess, scaled, self.cut, hit)).sum(1)
        outside = energies.sum(1) >= self.layer_energies.max_response * incident[:, 0]
        encoded = Batch(parts, self.condition_codec.encode(batch.condition), batch.index)
        return encoded, (of_layers + of_voxels).masked_fill(outside, -math.inf)

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> Tree:
        """Those of the given conditions that the model needs, if all lie within the range of training.

        Raises:
            ConfigError: a condition is missing, of the wrong shape, or outside the range of training.
        """
        return self.condition_codec.accept(condition, where=where, first=first)

    def encode_condition(self, condition: Tree) -> Tree:
        """Energy (B, 1) MeV to a standardised logarithm; particles to their index in `PARTICLES`.

        Raises:
            DataError: a particle that is not in `PARTICLES`.
        """
        return self.condition_codec.encode(condition)

    # --- tensor to physical -------------------------------------------------------------------------

    def decode(self, y: Tree, condition: Tree | None) -> Tensor:
        """`layers` and fields, and the physical condition, to showers (B, voxels) MeV."""
        if isinstance(y, Tensor):
            raise SpaceError("Expected encoded showers by name, as `encode` returns them; found one tensor.")
        ratios, z_counts = y["layers"].split(self.padding.layers, dim=1)
        counts = self.hit_counts.decode(z_counts)
        energies = self.layer_energies.decode(ratios, counts > 0, incident_energy(condition))
        heights = self.padding.split(self.marginals.value(self.padding.from_fields(y)))
        heights = heights.masked_fill(~self.padding.mask, -math.inf)
        counts = torch.minimum(counts, self.padding.sizes)
        return self.padding.join(place_hits(heights, counts, energies, self.cut))

    def draw_condition(self, noise: Noise) -> Tree:
        """Conditions drawn from those of training; energies are interpolated between two neighbours."""
        return self.condition_codec.draw(noise)

    def disagreement(self, expected: Tree, found: Tree, condition: Tree | None) -> Disagreement:
        """How showers differ from those expected: deposits and layer energies over E_incident, and flipped hits."""
        return flips(deposits(expected), deposits(found), incident_energy(condition), self.padding.layer)

    # --- pieces -------------------------------------------------------------------------------------

    def _above_cut(self, batch: Batch) -> Tensor:
        """Deposits (B, voxels), those below the cut set to zero."""
        x = deposits(batch.x)
        return torch.where(x >= self.cut, x, torch.zeros_like(x))

    def _layers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (B, L), MeV, and hit counts (B, L) of the layers."""
        table = self.padding.split(x)
        return table.sum(2), (table > 0).sum(2)

    def _gauge(self, noise: Noise) -> Tensor:
        return noise.normal("gauge", (self.padding.layers,))

    def _filling(self, noise: Noise) -> Tensor:
        return noise.normal("ratio", (self.padding.layers,))

    def _scaled(self, x: Tensor, noise: Noise) -> Tensor:
        """Excesses (B, voxels), those of a layer times one factor near one."""
        factor = (self.config.gauge * self._gauge(noise)).exp()
        return excesses(x, self.cut) * factor.index_select(1, self.padding.layer)


class ShowerCodecConfig(CodecConfig):
    """Two stages: layer energies and hit counts, then voxels."""

    kind: Literal["shower"] = "shower"
    gauge: float = Described(
        default=0.02,
        gt=0,
        description="width of the noise that takes the place of the redundant coordinates, in log energy",
    )

    def build(self, description: Mapping[str, Any]) -> ShowerCodec:
        """Return the unfitted codec of a data set's geometry and conditions."""
        return ShowerCodec(self, geometry_from_json(description["geometry"]), description["conditions"])


def shower_codec(codec: Codec) -> ShowerCodec:
    """The codec as one of showers; raises `ConfigError` for that of another domain.

    >>> from maquette.domains.calorimeter.dataset import ShowerDataset
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path())
    >>> codec = ShowerCodec(ShowerCodecConfig(gauge=0.05), data.geometry, {"energy": 1})
    >>> shower_codec(codec) is codec, codec.conditions
    (True, {'energy': 1})
    """
    if isinstance(codec, ShowerCodec):
        return codec
    raise ConfigError(f"codec: the calorimeter needs a ShowerCodec, found {type(codec).__name__}.")
