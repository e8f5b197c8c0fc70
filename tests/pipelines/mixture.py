"""A domain of numbers whose model is fitted in closed form: a Gaussian mixture, by expectation maximisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from maquette.core.data import Batch, Source
from maquette.core.families import FamilyConfig, families
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Player, Stage
from maquette.core.spaces import Space, Tree, Vector
from maquette.core.testing.odd_toys import Expectation, Mixture
from maquette.domains import domains
from maquette.domains.codec import CodecConfig, VolumeCodec
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import SimulatorConfig
from torch import Tensor, nn
from toy import Toy


class MixtureModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixture = Mixture()

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        part = (noise.uniform("part", (1,)) > self.mixture.share[0]).long()
        return self.mixture.mean[part] + self.mixture.variance[part].sqrt() * noise.normal("x", (1,))

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        return self.mixture(x[:, 0]).logsumexp(1)

    def stages(self) -> Sequence[Stage]:
        return [Stage("em", (Player("em", Numbers(self.mixture), (self.mixture,), gradient=False),))]


class Numbers(Expectation):
    def forward(self, batch: Batch, noise: Noise) -> Any:
        return super().forward(Batch(batch.x[:, 0], None, batch.index), noise)


@families.register("toy-mixture")
class MixtureConfig(FamilyConfig):
    kind: Literal["toy-mixture"] = "toy-mixture"
    summary = "two normal distributions on the line"
    reference = "none"
    spaces = ("vector",)
    model = MixtureModel

    def build(self, space: Space, condition: Space | None = None) -> MixtureModel:
        return MixtureModel()


class NumberCodec(VolumeCodec):
    """Numbers in units of their standard deviation; the base measure is the length."""

    exact = True
    unit: Tensor

    def __init__(self) -> None:
        super().__init__(Vector(dim=1))
        self.register_buffer("unit", torch.ones(()))

    def fit(self, source: Source) -> None:
        self.unit.copy_(source.fetch(torch.arange(len(source))).x.std())

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        y = Batch(batch.x / self.unit, None, batch.index)
        return y, -self.unit.log().expand(len(batch))

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y * self.unit


class NumberCodecConfig(CodecConfig):
    kind: Literal["number"] = "number"

    def build(self, description: Mapping[str, Any]) -> NumberCodec:
        return NumberCodec()


class NumberGeneratorConfig(GeneratorConfig):
    codec: NumberCodecConfig = NumberCodecConfig()


class NumberSimulatorConfig(SimulatorConfig):
    def build(self) -> NumberSimulatorConfig:
        return self

    @property
    def description(self) -> Mapping[str, Any]:
        return {"x": [1], "conditions": {}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        noise = KeyedNoise(seed, index, stream="simulate")
        right = noise.uniform("part", (1,)) < 1 / 3
        return Batch(torch.where(right, 3.0, -2.0) + 0.5 * noise.normal("x", (1,)), None, index)


class Numbered(Toy):
    name = "mixture"
    generator: type[GeneratorConfig] = NumberGeneratorConfig
    simulator: type[SimulatorConfig] = NumberSimulatorConfig


domains.register("mixture")(Numbered())
