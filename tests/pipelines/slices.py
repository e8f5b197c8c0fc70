"""A domain whose model is trained on 2-D slices and samples 3-D volumes, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families import FamilyConfig, families
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.families.sampling import share
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Stage
from maquette.core.spaces import Field, Space, Tree
from maquette.domains import domains
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import SimulatorConfig
from periodic import BoxGeneratorConfig
from torch import Tensor, nn
from toy import Toy


class Stack(nn.Module):
    """Volumes (B, 1, depth, *grid) of independent slices."""

    def __init__(self, slices: Any, space: Field) -> None:
        super().__init__()
        self.slices, self.space = slices, space

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        drawn = [self.slices.sample(n, condition, noise=noise.fold(f"slice/{i}")) for i in range(self.space.grid[0])]
        return torch.stack(drawn, dim=2)

    def at(self, space: Space) -> Self:
        assert isinstance(space, Field)
        if space.grid[1:] != self.space.grid[1:]:
            raise ConfigError(f"toy-stack: slices are {self.space.grid[1:]}; choose their number alone.")
        return share(self, space=space)

    def stages(self) -> Sequence[Stage]:
        return self.slices.stages()


@families.register("toy-stack")
class StackConfig(FamilyConfig):
    kind: Literal["toy-stack"] = "toy-stack"
    depth: int = 3
    summary = "stacks of slices"
    reference = "none"
    spaces = ("field",)
    model = Stack

    def samples(self, space: Space) -> Field:
        assert isinstance(space, Field)
        return Field(channels=space.channels, grid=(self.depth, *space.grid), periodic=(True, *space.periodic))

    def build(self, space: Space, condition: Space | None = None) -> Stack:
        return Stack(LinearConfig().build(space, condition), self.samples(space))


class SliceSimulatorConfig(SimulatorConfig):
    depth: int | None = None  # of volumes; slices without it

    def build(self) -> SliceSimulatorConfig:
        return self

    @property
    def description(self) -> Mapping[str, Any]:
        return {"x": [1, 2, 2] if self.depth is None else [1, self.depth, 2, 2], "conditions": {}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        noise = KeyedNoise(seed, index, stream="simulate")
        return Batch(3 + noise.normal("x", tuple(self.description["x"])), None, index)


class Slices(Toy):
    name = "slices"
    generator: type[GeneratorConfig] = BoxGeneratorConfig
    simulator: type[SimulatorConfig] = SliceSimulatorConfig


domains.register("slices")(Slices())
