"""Showers as tensors in two stages: how much energy and how many hits each layer has, then where they are.

Stage one, the part `layers`, is a vector for the L layers that have cells:

* total response u0 = E_total / (f E_incident), as a logit; f is fitted, for deposits may exceed the incident energy;
* layer ratios 1 .. L-1: ratio k is the share of layer k-1 in the energy of that layer and all behind it, as a logit.
  Where layer k-1 or everything behind it is empty the ratio is 0, 1 or 0/0: it then carries no information and its
  coordinate is filled with noise;
* the hit count of every layer, dequantised to a standard normal through its empirical law. A count of zero is the
  explicit outcome "empty".

Stage two has a coordinate per voxel, a standard normal over the data (`marginals`): above the voxel's boundary it is
hit, with a height log(1 + w) that grows with the excess w = e / cut - 1 above the readout threshold; below it the
voxel is empty and the coordinate is noise. On the way back the count's worth of largest heights in a layer become
hits, and their excesses are scaled until they sum to the layer's energy: sums and counts are exact, and no hit falls
below the threshold. As the common scale of a layer's excesses says nothing, noise (the gauge) stands in for it.

After Krause & Shih, arXiv:2106.05285 (two stages) and Ernst et al., arXiv:2312.09290 (layer ratios).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor
from torch.nn import functional as F

from ....core.data import Batch, Source
from ....core.errors import ConfigError
from ....core.noise import KeyedNoise, Noise
from ....core.spaces import Levels, Product, Simple, Tree, Vector
from ....data_specs.calorimeter.conditions import CONDITIONS, PARTICLES
from ....data_specs.calorimeter.geometry import LEAST_DEPOSIT, Geometry
from ....data_specs.calorimeter.geometry_json import geometry_from_json
from ....data_specs.errors import DataError
from ...generator import Codec, CodecConfig
from .marginals import HeightHistogram, Marginals
from .padding import Padding

FEWEST = 20
"""Showers; of fewer no law of layers and hit counts can be learned."""
_KEPT_CONDITIONS = 4096
_SLACK = 0.01  # how far beyond the conditions of training, as a share of them, is still called inside
_UNSEEN = 0.5  # showers' worth of probability, in every layer, for hit counts that training did not show
_EDGE = 8.0  # standard normal quantile beyond which nothing is drawn
_TINY = 1e-15
_BLOCK = 4096


class ShowerCodec(Codec):
    """The codec of one geometry; what it fits lies in its buffers."""

    sample_name = "showers"
    units: ClassVar[Mapping[str, str]] = {"energy": "MeV", "angle": "rad", "showers": "MeV"}

    cut: Tensor  # (), MeV: what a hit is
    excess: Tensor  # (), f: the largest E_total / E_incident there can be
    energy_scale: Tensor  # (2,): mean and standard deviation of log E_incident
    layer_scale: Tensor  # (2, L): of the logits of stage one
    count_edges: Tensor  # (L, N + 2): standard normal quantiles between which a count lies
    law: Tensor  # (M, 1 + ...): conditions seen in training, ordered by energy
    seen: Tensor  # (2, 1 + ...): the smallest and the largest of each
    particles: Tensor  # (len(PARTICLES),), bool: which were seen

    def __init__(self, config: ShowerCodecConfig, geometry: Geometry, conditions: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.geometry = config, geometry
        # columns have one order, whatever the order in which a description names them
        self.conditions = {name: conditions[name] for name in CONDITIONS if name in conditions}
        self.padding = Padding(geometry)
        layers, most = self.padding.layers, self.padding.most
        self.register_buffer("cut", torch.tensor(1.0))
        self.register_buffer("excess", torch.tensor(1.0))
        self.register_buffer("energy_scale", torch.tensor([0.0, 1.0]))
        self.register_buffer("layer_scale", torch.stack((torch.zeros(layers), torch.ones(layers))))
        self.register_buffer("count_edges", torch.zeros(layers, most + 2))
        self.marginals = Marginals(geometry.n_voxels)
        self.register_buffer("law", torch.zeros(_KEPT_CONDITIONS, sum(self.conditions.values())))
        self.register_buffer("seen", torch.zeros(2, sum(self.conditions.values())))
        self.register_buffer("particles", torch.zeros(len(PARTICLES), dtype=torch.bool))
        self.space = Product(parts={"layers": Vector(dim=2 * layers), **self.padding.fields()})
        self.condition = Product(parts={name: self._condition_part(name) for name in self.conditions})

    def _condition_part(self, name: str) -> Simple:
        if name == "particle":
            return Vector(dim=1, support=Levels(count=len(PARTICLES)))
        return Vector(dim=self.conditions[name])

    # --- fitting ------------------------------------------------------------------------------------

    def fit(self, source: Source) -> None:
        """Fit the cut, f, the laws of counts and the scales, in two passes over blocks of the source.

        Raises:
            DataError: too few showers, or none that has a deposit above the threshold.
        """
        if len(source) < FEWEST:
            raise DataError(f"A fit needs at least {FEWEST} showers to train on, found {len(source)}; give more rows.")
        smallest, largest, law = math.inf, 0.0, []
        spread = _Moments(())
        for batch in _blocks(source):
            x, energy = _shower(batch), _energy(batch.condition)
            if (x >= self.geometry.readout).any():
                smallest = min(smallest, x[x >= self.geometry.readout].min().item())
            ratio = x.double().sum(1) / energy[:, 0].double()
            largest = max(largest, ratio.max().item())
            spread.add(ratio, torch.ones_like(ratio, dtype=torch.bool))
            law.append(torch.cat([batch.condition[name].float() for name in self.conditions], dim=1))  # type: ignore[index]
        if not math.isfinite(smallest):
            raise DataError("The training showers hold no deposit above the readout threshold; check file and units.")
        # ideal engines write deposits down to 1e-23 MeV, which no float32 holds beside those of a GeV
        self.cut.fill_(self.geometry.readout if self.geometry.threshold else max(smallest, LEAST_DEPOSIT))
        # a tenth of a standard deviation beyond the largest response seen keeps its logit finite
        self.excess.fill_(largest + max(0.1 * spread.std.item(), 1e-4))
        self._fit_law(torch.cat(law))
        self._fit_scales(source)

    def _fit_law(self, rows: Tensor) -> None:
        self.seen.copy_(torch.stack((rows.amin(0), rows.amax(0))))
        if "particle" in self.conditions:
            kinds = rows[:, list(self.conditions).index("particle"), None]
            self.particles.copy_((kinds == torch.tensor(PARTICLES)).any(0))
        rows = rows[rows[:, 0].argsort()]
        kept = torch.linspace(0, len(rows) - 1, _KEPT_CONDITIONS, dtype=torch.float64).round().long()
        self.law.copy_(rows[kept])
        log_energy = rows[:, 0].double().log()
        self.energy_scale.copy_(torch.stack((log_energy.mean(), log_energy.std().clamp(min=1e-3))))

    def _fit_scales(self, source: Source) -> None:
        layers, most = self.padding.layers, self.padding.most
        logits = _Moments((layers,))
        brightest = self.excess.item() * self.law[:, 0].max().item() / self.cut.item()
        heights = HeightHistogram(self.padding.layer, top=math.log1p(2 * brightest))
        tally = torch.zeros(layers, most + 1, dtype=torch.float64)
        for batch in _blocks(source):
            x = self._deposits(batch)
            energies, counts = self._layers(x)
            logits.add(*self._logits(energies, _energy(batch.condition)))
            # as `encode` will see them: the gauge blurs sharp lines
            heights.add(self._scaled(x, KeyedNoise(0, batch.index, "codec")).log1p(), x > 0)
            for layer, count in enumerate(counts.T):
                tally[layer] += torch.bincount(count, minlength=most + 1)
        self.layer_scale.copy_(torch.stack((logits.mean, logits.std.clamp(min=1e-3))))
        self.marginals.fit(heights)
        tally += _UNSEEN * _unseen(tally, torch.arange(most + 1) <= self.padding.sizes[:, None])
        cumulative = F.pad(tally.cumsum(1) / tally.sum(1, keepdim=True), (1, 0)).clamp(0, 1)
        self.count_edges.copy_(torch.special.ndtri(cumulative).clamp(-_EDGE, _EDGE))

    # --- physical to tensor -------------------------------------------------------------------------

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        """Showers (B, voxels) MeV to `layers` and the fields; noise fills what carries no information."""
        x = self._deposits(batch)
        energies, counts = self._layers(x)
        logits, defined = self._logits(energies, _energy(batch.condition))
        mean, std = self.layer_scale
        ratios = torch.where(defined, (logits - mean) / std, self._filling(noise))
        empty = noise.uniform("empty", (self.geometry.n_voxels,))
        voxels = self.marginals.coordinate(self._scaled(x, noise).log1p(), x > 0, empty)
        parts = {"layers": torch.cat((ratios, self._dequantised(counts, noise)), dim=1)}
        assert batch.condition is not None
        return Batch(parts | self.padding.to_fields(voxels), self.encode_condition(batch.condition), batch.index)

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        """`encode`, and log |dy / d(x, noise)| - log q(noise), shape (B,).

        With it, log p(x) >= log p(y) + volume for one draw of the noise. The base measure of x is Lebesgue's (MeV)
        on every hit and counting on which voxels are hit. A shower beyond f E_incident, which the map does not reach,
        has no density: its volume is -inf. The coordinates that hits, energies and counts share (one
        per hit layer, and the counts) are redundant: the noise that takes their place in the map cancels against q.
        Thresholding on the way back is not part of the density.
        """
        encoded = self.encode(batch, noise)
        assert isinstance(encoded.x, dict)
        x = self._deposits(batch)
        energies, counts = self._layers(x)
        logits, defined = self._logits(energies, _energy(batch.condition))
        heights, voxels = encoded.x["layers"][:, self.padding.layers :], self.padding.from_fields(encoded.x)
        scaled = self._scaled(x, noise)
        volume = (
            self._energy_volume(energies, logits, defined)
            - torch.where(defined, self.layer_scale[1].log(), _log_normal(self._filling(noise)))
            + self._count_volume(counts, heights)
            + self._gauge_volume(x, self._gauge(noise))
        ).sum(1)
        slopes = self.marginals.log_slope(scaled.log1p(), x > 0, voxels)
        volume = volume + (slopes + self._hit_volume(x, scaled)).sum(1)
        beyond = energies.sum(1) >= self.excess * _energy(batch.condition)[:, 0]
        return encoded, volume.masked_fill(beyond, -math.inf)

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> Tree:
        """The conditions that the model needs, of those given, if all lie within what training showed.

        Raises:
            ConfigError: a condition is missing, of the wrong width, or beyond: the model knows nothing there.
        """
        assert isinstance(condition, dict)
        for name, width in self.conditions.items():
            if name not in condition:
                raise ConfigError(f"{where}{name}: the model needs this condition too, found {sorted(condition)}.")
            if condition[name].shape[1:] != (width,):
                found = tuple(condition[name].shape[1:])
                raise ConfigError(f"{where}{name}: expected {width} numbers a shower, found the shape {found}.")
        bounds = dict(zip(self.conditions, self.seen.split(list(self.conditions.values()), dim=1), strict=True))
        for name, (low, high) in bounds.items():
            value = condition[name].to(self.seen.device)
            if name == "particle":
                kinds = torch.tensor(PARTICLES, device=value.device)[self.particles]
                inside, known = torch.isin(value, kinds), f"the particles {kinds.tolist()}"
            else:
                slack = _SLACK * torch.maximum(low.abs(), high.abs())
                inside = (value >= low - slack) & (value <= high + slack)  # a NaN is neither
                unit = self.units[name]
                known = " and ".join(f"{a:.6g} .. {b:.6g} {unit}" for a, b in zip(low, high, strict=True))
            if not inside.all():
                row, column = (~inside).nonzero()[0].tolist()
                place = f" in row {first + row}" if len(value) > 1 else ""
                raise ConfigError(
                    f"{where}{name}: the model was trained on {known} and knows nothing beyond; found "
                    f"{value[row, column].item():.6g}{place}."
                )
        return {name: condition[name] for name in self.conditions}

    def encode_condition(self, condition: Tree) -> Tree:
        """Energy (B, 1) MeV to a standardised logarithm; particles to their place in `PARTICLES`.

        Raises:
            DataError: a particle that the model cannot tell apart.
        """
        mean, std = self.energy_scale
        encoded: dict[str, Tensor] = {}
        for name in self.conditions:
            value = condition[name]  # type: ignore[index]
            if name == "energy":
                encoded[name] = (value.log() - mean) / std
            elif name == "particle":
                same = value[:, :, None] == torch.tensor(PARTICLES, device=value.device)
                # a graph cannot raise: an exported file takes particles that it does not know for the first
                if not torch.compiler.is_exporting() and not same.any(-1).all():
                    raise DataError(f"Unknown particle number {value[~same.any(-1)][0].item()}; known: {PARTICLES}.")
                encoded[name] = same.long().argmax(-1)
            else:
                encoded[name] = value
        return encoded

    # --- tensor to physical -------------------------------------------------------------------------

    def decode(self, y: Tree, condition: Tree) -> Tensor:
        """`layers` and fields, and the physical condition, to showers (B, voxels) MeV."""
        assert isinstance(y, dict)
        ratios, heights = y["layers"].split(self.padding.layers, dim=1)
        counts = (heights[:, :, None] >= self.count_edges[:, 1:-1]).sum(2)
        mean, std = self.layer_scale
        energies = self._energies(ratios * std + mean, counts > 0, _energy(condition))
        heights = self.padding.split(self.marginals.height(self.padding.from_fields(y)))
        heights = heights.masked_fill(~self.padding.mask, -math.inf)
        return self.padding.join(self._hits(heights, torch.minimum(counts, self.padding.sizes), energies))

    def _energies(self, logits: Tensor, hit: Tensor, energy: Tensor) -> Tensor:
        """Energy of every layer (B, L), MeV."""
        total = self.excess * energy * torch.sigmoid(logits[:, :1])
        behind = hit.flip(1).cumsum(1).flip(1) - hit.long() > 0  # is any layer behind this one hit?
        one, zero = torch.ones_like(total), torch.zeros_like(total)
        logit = torch.cat((logits[:, 1:], zero), dim=1)
        share = torch.where(hit, torch.where(behind, torch.sigmoid(logit), one), zero)
        passed = torch.where(hit, torch.where(behind, F.logsigmoid(-logit), zero), zero)
        before = passed.cumsum(1) - passed
        return total * share * before.exp()

    def _hits(self, heights: Tensor, counts: Tensor, energies: Tensor) -> Tensor:
        """Deposits (B, L, N): the largest heights of a layer, their excesses scaled to the layer's energy.

        A layer too faint for its count loses hits; one below the readout threshold is empty.
        """
        units = energies[:, :, None] / self.cut
        counts = torch.minimum(counts[:, :, None], (units * (1 + 1e-6)).floor().long())
        rank = heights.argsort(2, descending=True).argsort(2)
        on = (rank < counts).to(heights.dtype)
        # the largest hit takes the energy that nobody wants
        excess = on * (torch.expm1(heights.clamp(0, 40)) + (rank == 0) * 1e-6)
        scale = (units - counts).clamp(min=0) / excess.sum(2, keepdim=True).clamp(min=1e-12)
        return self.cut * (on + excess * scale)

    def draw_condition(self, noise: Noise) -> Tree:
        """Conditions from those seen in training; energies between two neighbours."""
        place = noise.uniform("law") * (len(self.law) - 1)
        low = place.floor().long().clamp(max=len(self.law) - 2)
        rows = self.law[low]
        energy = torch.lerp(rows[:, :1], self.law[low + 1, :1], (place - low)[:, None])
        drawn = torch.cat((energy, rows[:, 1:]), dim=1).split(list(self.conditions.values()), dim=1)
        return {
            name: value.long() if name == "particle" else value
            for name, value in zip(self.conditions, drawn, strict=True)
        }

    def error_scale(self, x: Tree, condition: Tree | None) -> Tensor:
        """The incident energy (B,), MeV."""
        return _energy(condition)[:, 0]

    def groups(self, numbers: int) -> Tensor:
        """The layer of each voxel: its energy is fixed before its hits are."""
        return self.padding.layer

    # --- pieces -------------------------------------------------------------------------------------

    def _deposits(self, batch: Batch) -> Tensor:
        """Deposits (B, voxels), those below the cut set to zero."""
        x = _shower(batch)
        return torch.where(x >= self.cut, x, torch.zeros_like(x))

    def _layers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (B, L), MeV, and hit counts (B, L) of the layers."""
        table = self.padding.split(x)
        return table.sum(2), (table > 0).sum(2)

    def _excess(self, x: Tensor) -> Tensor:
        """e / cut - 1 of hits, at least a millionth."""
        return (x / self.cut - 1).clamp(min=1e-6)

    def _gauge(self, noise: Noise) -> Tensor:
        return noise.normal("gauge", (self.padding.layers,))

    def _filling(self, noise: Noise) -> Tensor:
        return noise.normal("ratio", (self.padding.layers,))

    def _scaled(self, x: Tensor, noise: Noise) -> Tensor:
        """Excesses (B, voxels), those of a layer times one factor near one."""
        factor = (self.config.gauge * self._gauge(noise)).exp()
        return self._excess(x) * factor.index_select(1, self.padding.layer)

    def _logits(self, energies: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of u0 and of the ratios 1 .. L-1 (B, L), and where they are defined."""
        left = _from_here(energies)
        behind = F.pad(left[:, 1:], (0, 1))
        total = left[:, :1]
        room = (self.excess * energy - total).clamp(min=1e-6 * energy)
        numerator = torch.cat((total, energies[:, :-1]), dim=1)
        denominator = torch.cat((room, behind[:, :-1]), dim=1)
        defined = (numerator > 0) & (denominator > 0)
        ratio = torch.where(defined, numerator, 1.0) / torch.where(defined, denominator, 1.0)
        return ratio.log(), defined

    def _chances(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Between which probabilities each count (B, L) lies; float64."""
        edges = self.count_edges.double().expand(len(counts), -1, -1)
        low, high = (edges.gather(2, counts[:, :, None] + side)[:, :, 0] for side in (0, 1))
        return torch.special.ndtr(low), torch.special.ndtr(high)

    def _dequantised(self, counts: Tensor, noise: Noise) -> Tensor:
        """Counts (B, L) to standard normals between their edges."""
        low, high = self._chances(counts)
        chance = torch.lerp(low, high, noise.uniform("count", (self.padding.layers,)).double())
        return torch.special.ndtri(chance.clamp(_TINY, 1 - _TINY)).to(self.layer_scale.dtype)

    def _count_volume(self, counts: Tensor, heights: Tensor) -> Tensor:
        """Terms (B, L): log |dy / du| of the uniform u that dequantises a count."""
        low, high = self._chances(counts)
        return (high - low).clamp(min=_TINY).log().to(heights.dtype) - _log_normal(heights)

    def _energy_volume(self, energies: Tensor, logits: Tensor, defined: Tensor) -> Tensor:
        """Terms (B, L) of log |d(logit u0, logits of ratios) / d(energies of hit layers)|."""
        left = _from_here(energies)
        of = torch.cat((left[:, :1], left[:, :-1]), dim=1)
        # d logit(u0) / dE = 1 / (E (1 - u0)); d logit(v) = 1 / (v (1 - v)) dv and dv = 1 / E(left) dE
        own = torch.cat((torch.zeros_like(left[:, :1]), F.logsigmoid(logits[:, 1:])), dim=1)
        slope = -torch.where(defined, of, 1.0).log() - F.logsigmoid(-logits) - own
        return torch.where(defined, slope, torch.zeros_like(slope))

    def _gauge_volume(self, x: Tensor, gauge: Tensor) -> Tensor:
        """Terms (B, L) of the hit layers: (excesses w, gauge s) -> (their sum W, log w + s) has determinant
        W / prod(w); of this, E = cut (W + count), and minus the density of s.
        """
        total = self.padding.split(self._excess(x) * (x > 0)).sum(2)
        terms = (self.cut * total.clamp(min=_TINY)).log() + math.log(self.config.gauge) - _log_normal(gauge)
        return torch.where(total > 0, terms, torch.zeros_like(terms))

    def _hit_volume(self, x: Tensor, scaled: Tensor) -> Tensor:
        """Terms (B, voxels) of the hits: log |d log(1 + w') / d log w'| - log w - log cut, with w' = w exp(s)."""
        terms = (scaled / (1 + scaled)).log() - self._excess(x).log() - self.cut.log()
        return torch.where(x > 0, terms, torch.zeros_like(terms))


class _Moments:
    """Running mean and standard deviation of masked values, in float64."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.total, self.square = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))

    def add(self, value: Tensor, mask: Tensor) -> None:
        value = torch.where(mask, value, torch.zeros_like(value)).double()
        self.count += mask.sum(0)
        self.total += value.sum(0)
        self.square += value.square().sum(0)

    @property
    def mean(self) -> Tensor:
        return self.total / self.count.clamp(min=1)

    @property
    def std(self) -> Tensor:
        """One where nothing was seen."""
        spread = (self.square / self.count.clamp(min=1) - self.mean.square()).clamp(min=0).sqrt()
        return torch.where(self.count > 0, spread, torch.ones_like(spread))


class ShowerCodecConfig(CodecConfig):
    """Two stages: layer energies and hit counts, then voxels."""

    kind: Literal["shower"] = "shower"
    gauge: float = Described(
        default=0.02,
        gt=0,
        description="width of the noise that takes the place of the redundant coordinates, in log energy",
    )

    def build(self, description: Mapping[str, Any]) -> ShowerCodec:
        return ShowerCodec(self, geometry_from_json(description["geometry"]), description["conditions"])


def _unseen(tally: Tensor, possible: Tensor) -> Tensor:
    """A law (L, N) over the possible counts that a tally does not show, falling with the distance to those it does.

    As the inverse cube: the next shower of the same law may well go one beyond all others, and hardly ever ten.
    """
    n = torch.arange(tally.shape[1], dtype=torch.float64).expand_as(tally)
    far = 2.0 * tally.shape[1]
    below = n - torch.where(tally > 0, n, -far).cummax(1).values
    above = torch.where(tally > 0, n, far).flip(1).cummin(1).values.flip(1) - n
    weight = torch.where((tally == 0) & possible, torch.minimum(below, above), math.inf).pow(-3)
    return weight / weight.sum(1, keepdim=True).clamp(min=_TINY)


def _from_here(energies: Tensor) -> Tensor:
    """Energy of each layer and all behind it, (B, L)."""
    return energies.flip(1).cumsum(1).flip(1)


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def _energy(condition: Tree | None) -> Tensor:
    assert isinstance(condition, dict)
    return condition["energy"]


def _shower(batch: Batch) -> Tensor:
    assert isinstance(batch.x, Tensor)
    return batch.x


def _blocks(source: Source) -> Iterator[Batch]:
    """The whole source, a block at a time."""
    for index in torch.arange(len(source)).split(_BLOCK):
        yield source.fetch(index)
