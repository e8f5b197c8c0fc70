"""A domain without conditions: noisy points on a circle, whose angle nobody notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.noise import Noise
from maquette.core.spaces import Tree, Vector
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.generator import Generator, GeneratorConfig
from maquette.domains.plugin import SimulatorConfig
from torch import Tensor
from toy import Toy, ToyCodec, ToySimulator, ToySimulatorConfig


class CloudCodec(Codec):
    """Divides points by their standard deviation."""

    unit: Tensor
    fit = ToyCodec.fit
    decode = ToyCodec.decode

    def __init__(self) -> None:
        super().__init__(Vector(dim=2))
        self.register_buffer("unit", torch.ones(()))

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return Batch(batch.x / self.unit, None, batch.index)


class CloudCodecConfig(CodecConfig):
    kind: Literal["cloud"] = "cloud"

    def build(self, description: Mapping[str, Any]) -> CloudCodec:
        return CloudCodec()


class CloudGeneratorConfig(GeneratorConfig):
    codec: CloudCodecConfig = CloudCodecConfig()


class CloudSimulator(ToySimulator):
    description: Mapping[str, Any] = {"x": [2], "conditions": {}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        return Batch(super().simulate(index, seed).x, None, index)


class CloudSimulatorConfig(ToySimulatorConfig):
    def build(self) -> CloudSimulator:
        return CloudSimulator(self.radius)


class Cloud(Toy):
    name = "cloud"
    generator: type[GeneratorConfig] = CloudGeneratorConfig
    simulator: type[SimulatorConfig] = CloudSimulatorConfig

    def parse_condition(self, values: Mapping[str, str], n: int, generator: Generator) -> Tree:
        raise ConfigError("points of a cloud have no conditions.")


domains.register("cloud")(Cloud())
