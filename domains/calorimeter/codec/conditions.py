"""The conditions of showers: physical values to context of the model, their range in training, and draws of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....core.errors import ConfigError
from ....core.noise import Noise
from ....core.spaces import Levels, Product, Simple, Tree, Vector
from ....data_specs.calorimeter.conditions import CONDITIONS, PARTICLES
from ....data_specs.errors import DataError
from ..batches import named_conditions

UNITS: Mapping[str, str] = {"energy": "MeV", "angle": "rad"}
_KEPT = 4096  # conditions of training that are kept to draw from
_TOLERANCE = 0.01  # how far beyond the range of training a value may lie, relative to the range's larger end


class ConditionCodec(nn.Module):
    """Standardises the energy's logarithm, and replaces particles by their index in `PARTICLES`.

    Args:
        widths: how many values a shower has of each condition.

    Attributes:
        widths: the same in the order of `CONDITIONS`, whatever the order in which they were given.
        space: of encoded conditions.

    >>> codec = ConditionCodec({"energy": 1, "particle": 1})
    >>> codec.fit(torch.tensor([[1000.0, 22], [2000.0, 22], [4000.0, 11]]))
    >>> codec.encode({"energy": torch.tensor([[2000.0]]), "particle": torch.tensor([[11]])})
    {'energy': tensor([[0.]]), 'particle': tensor([[1]])}
    >>> codec.accept({"energy": torch.tensor([[9000.0]]), "particle": torch.tensor([[11]])})
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: condition.energy: the model was trained on 1000 .. 4000 MeV and cannot \
extrapolate; found 9000.
    """

    energy_scale: Tensor  # (2,): mean and standard deviation of log E_incident
    training_conditions: Tensor  # (4096, k): conditions of training showers, in order of energy
    condition_range: Tensor  # (2, k): smallest and largest value in training
    particles: Tensor  # (len(PARTICLES),), bool: those in training

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.widths = {name: widths[name] for name in CONDITIONS if name in widths}
        total = sum(self.widths.values())
        self.space = Product(parts={name: self._part(name) for name in self.widths})
        self.register_buffer("energy_scale", torch.tensor([0.0, 1.0]))
        self.register_buffer("training_conditions", torch.zeros(_KEPT, total))
        self.register_buffer("condition_range", torch.zeros(2, total))
        self.register_buffer("particles", torch.zeros(len(PARTICLES), dtype=torch.bool))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={width}" for name, width in self.widths.items())

    def _part(self, name: str) -> Simple:
        if name == "particle":
            return Vector(dim=1, support=Levels(count=len(PARTICLES)))
        return Vector(dim=self.widths[name])

    def concatenate(self, condition: Tree | None) -> Tensor:
        """Conditions side by side, float32, (B, k)."""
        named = named_conditions(condition)
        return torch.cat([named[name].float() for name in self.widths], dim=1)

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Inverse of `concatenate`: (B, k) to tensors by name, particles as int64."""
        parts = values.split(list(self.widths.values()), dim=1)
        return {
            name: part.long() if name == "particle" else part for name, part in zip(self.widths, parts, strict=True)
        }

    def fit(self, values: Tensor) -> None:
        """Keep scale, range and a sample of the training conditions (n, k), as `concatenate` returns them."""
        self.condition_range.copy_(torch.stack((values.amin(0), values.amax(0))))
        if "particle" in self.widths:
            particles = self.split(values)["particle"]
            self.particles.copy_((particles == torch.tensor(PARTICLES)).any(0))
        values = values[values[:, 0].argsort()]
        kept = torch.linspace(0, len(values) - 1, _KEPT, dtype=torch.float64).round().long()
        self.training_conditions.copy_(values[kept])
        log_energy = values[:, 0].double().log()
        self.energy_scale.copy_(torch.stack((log_energy.mean(), log_energy.std().clamp(min=1e-3))))

    def encode(self, condition: Tree | None) -> dict[str, Tensor]:
        """Energy (B, 1) MeV to a standardised logarithm, particles to their index in `PARTICLES`, angles as they are.

        Raises:
            DataError: a particle that is not in `PARTICLES`.
        """
        mean, std = self.energy_scale
        named, encoded = named_conditions(condition), {}
        for name in self.widths:
            value = named[name]
            if name == "energy":
                encoded[name] = (value.log() - mean) / std
            elif name == "particle":
                same = value[:, :, None] == torch.tensor(PARTICLES, device=value.device)
                # an exported graph cannot raise: there an unknown particle is encoded as the first one
                if not torch.compiler.is_exporting() and not same.any(-1).all():
                    raise DataError(f"Unknown particle number {value[~same.any(-1)][0].item()}; known: {PARTICLES}.")
                encoded[name] = same.long().argmax(-1)
            else:
                encoded[name] = value
        return encoded

    def accept(self, condition: Tree, *, where: str = "condition.", first: int = 0) -> dict[str, Tensor]:
        """Those of the given conditions that the model needs, if all lie within the range of training.

        Args:
            condition: physical values by name.
            where: prefix of a condition's name in messages.
            first: row number of the first value, for messages.

        Raises:
            ConfigError: a condition is missing, of the wrong shape, or outside the range of training.
        """
        named = named_conditions(condition)
        for name, width in self.widths.items():
            if name not in named:
                raise ConfigError(f"{where}{name}: the model needs this condition too, found {sorted(named)}.")
            if named[name].shape[1:] != (width,):
                found = tuple(named[name].shape[1:])
                raise ConfigError(f"{where}{name}: expected {width} values per shower, found the shape {found}.")
        for name, (low, high) in zip(
            self.widths, self.condition_range.split(list(self.widths.values()), dim=1), strict=True
        ):
            value = named[name].to(low.device)
            if name == "particle":
                particles = torch.tensor(PARTICLES, device=value.device)[self.particles]
                inside, known = torch.isin(value, particles), f"the particles {particles.tolist()}"
            else:
                tolerance = _TOLERANCE * torch.maximum(low.abs(), high.abs())
                inside = (value >= low - tolerance) & (value <= high + tolerance)  # false for NaN
                known = " and ".join(f"{a:.6g} .. {b:.6g} {UNITS[name]}" for a, b in zip(low, high, strict=True))
            if not inside.all():
                row, column = (~inside).nonzero()[0].tolist()
                position = f" in row {first + row}" if len(value) > 1 else ""
                raise ConfigError(
                    f"{where}{name}: the model was trained on {known} and cannot extrapolate; found "
                    f"{value[row, column].item():.6g}{position}."
                )
        return {name: named[name] for name in self.widths}

    def draw(self, noise: Noise) -> dict[str, Tensor]:
        """Conditions drawn from those of training; energies are interpolated between two neighbours."""
        kept = self.training_conditions
        position = noise.uniform("law") * (len(kept) - 1)
        low = position.floor().long().clamp(max=len(kept) - 2)
        drawn = kept[low]
        energy = torch.lerp(drawn[:, :1], kept[low + 1, :1], (position - low)[:, None])
        return self.split(torch.cat((energy, drawn[:, 1:]), dim=1))
