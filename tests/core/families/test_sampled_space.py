"""A family that is trained on slices and samples volumes keeps the laws of samples."""

from typing import ClassVar, Literal

import pytest
import torch
from maquette.core.errors import SpaceError
from maquette.core.families import FamilyConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.spaces import Field, Vector
from maquette.core.testing.laws import LAWS, applicable
from torch import nn

SLICE, CONDITION, DEPTH = Field(channels=1, grid=(2, 2)), Vector(dim=1), 3


class Stack(nn.Module):
    """Volumes of slices that a model of slices draws one by one."""

    def __init__(self, slices):
        super().__init__()
        self.slices = slices

    def sample(self, n, condition=None, *, noise):
        each = [self.slices.sample(n, condition, noise=noise.fold(f"slice/{i}")) for i in range(DEPTH)]
        return torch.stack(each, dim=2)

    def stages(self):
        return self.slices.stages()


class StackConfig(FamilyConfig):
    summary: ClassVar[str] = "test"
    reference: ClassVar[str] = "none"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    model: ClassVar[type[nn.Module]] = Stack

    kind: Literal["stack"] = "stack"

    def build(self, space, condition=None):
        return Stack(LinearConfig().build(space, condition))

    def samples(self, space):
        return Field(channels=space.channels, grid=(DEPTH, *space.grid))


class Silent(StackConfig):
    """Says nothing of the volumes that it samples."""

    def samples(self, space):
        return space


@pytest.mark.parametrize("law", applicable(StackConfig(), SLICE, CONDITION))
def test_law(law):
    LAWS[law].check(StackConfig(), SLICE, CONDITION)


def test_samples_of_another_space_must_be_declared():
    with pytest.raises(SpaceError, match=r"sample: expected shape \(B, \*\(1, 2, 2\)\), found \(1, 1, 3, 2, 2\)"):
        LAWS["sample"].check(Silent(), SLICE, CONDITION)
