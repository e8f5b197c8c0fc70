"""A domain of periodic 3-D fields, given an amplitude and a field that is moved along one axis; boxes of any size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from maquette.core.data import Batch, Source, map_tree
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.spaces import Field, Product, Space, Tree, Vector, named
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import SimulatorConfig
from torch import Tensor
from toy import Toy


class BoxCodec(Codec):
    """Divides fields by one scale, whatever the box."""

    unit: Tensor

    def __init__(self, space: Space, condition: Space | None) -> None:
        super().__init__(space, condition)
        self.register_buffer("unit", torch.ones(()))

    def fit(self, source: Source) -> None:
        self.unit.copy_(named(source.fetch(torch.arange(len(source))).x, "x")["x"].std())

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return Batch(map_tree(lambda x: x / self.unit, batch.x), batch.condition, batch.index)

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return map_tree(lambda y: y * self.unit, y)


class BoxCodecConfig(CodecConfig):
    kind: Literal["box"] = "box"

    def build(self, description: Mapping[str, Any]) -> BoxCodec:
        grid = tuple(description["x"][1:])
        field = Field(channels=1, grid=grid, periodic=(True,) * len(grid))
        given = Product(parts={"amplitude": Vector(dim=1), "density": field})
        return BoxCodec(field, given if description["conditions"] else None)

    def description_at(self, description: Mapping[str, Any], space: Space) -> Mapping[str, Any]:
        shape = list(space.shape)
        conditions = description["conditions"]
        return {"x": shape, "conditions": {**conditions, "density": shape} if conditions else {}}


class BoxGeneratorConfig(GeneratorConfig):
    codec: BoxCodecConfig = BoxCodecConfig()


class BoxSimulatorConfig(SimulatorConfig):
    grid: tuple[int, ...] = (4, 4, 4)

    def build(self) -> BoxSimulatorConfig:
        return self

    @property
    def description(self) -> Mapping[str, Any]:
        return {"x": [1, *self.grid], "conditions": {"amplitude": [1], "density": [1, *self.grid]}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        noise = KeyedNoise(seed, index, stream="simulate")
        amplitude, density = 1 + noise.uniform("amplitude", (1,)), noise.normal("density", (1, *self.grid))
        x = amplitude[:, :, None, None, None] * density.roll(1, -1) + 0.1 * noise.normal("x", (1, *self.grid))
        return Batch(x, {"amplitude": amplitude, "density": density}, index)


class Periodic(Toy):
    name = "periodic"
    generator: type[GeneratorConfig] = BoxGeneratorConfig
    simulator: type[SimulatorConfig] = BoxSimulatorConfig


domains.register("periodic")(Periodic())
