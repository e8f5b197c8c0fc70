"""The law of other grids bites: it holds for white noise of one width, and each fault breaks it."""

import copy
from typing import ClassVar, Literal

import pytest
import torch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families import FamilyConfig
from maquette.core.families.sampling import share
from maquette.core.layout import Layout
from maquette.core.spaces import Field
from maquette.core.testing.laws import LAWS, applicable
from torch import nn

FIELD = Field(channels=1, grid=(2, 3))


class White(nn.Module):
    def __init__(self, layout, fault):
        super().__init__()
        self.layout, self.fault = layout, fault
        self.log_scale = nn.Parameter(torch.zeros(1))

    def sample(self, n, condition=None, *, noise):
        return self.layout.unflatten(self.log_scale.exp() * self.layout.prior(n, noise))

    def at(self, space):
        if self.fault == "one size":
            raise ConfigError("at: one size only.")
        view = copy.deepcopy(self) if self.fault == "copy" else share(self)
        if self.fault == "other":
            view.log_scale = nn.Parameter(torch.ones(1))
        (self if self.fault == "leak" else view).layout = Layout(FIELD if self.fault == "small" else space)
        return view


class WhiteConfig(FamilyConfig):
    summary: ClassVar[str] = "test"
    reference: ClassVar[str] = "none"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    model: ClassVar[type[nn.Module]] = White

    kind: Literal["white"] = "white"
    fault: str = ""

    def build(self, space, condition=None):
        return White(Layout(space, condition), self.fault)


@pytest.mark.parametrize("fault", ["", "one size"])
def test_it_holds_for_views_and_for_models_of_one_size(fault):
    assert "at" in applicable(WhiteConfig(), FIELD)
    LAWS["at"].check(WhiteConfig(fault=fault), FIELD, None)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("copy", "copies of weights"),
        ("other", "draws other samples"),
        ("small", r"expected shape \(B, \*\(1, 4, 6\)\)"),
        ("leak", r"expected shape|changed the model"),
    ],
)
def test_a_fault_breaks_it(fault, sentence):
    with pytest.raises((AssertionError, SpaceError), match=sentence):
        LAWS["at"].check(WhiteConfig(fault=fault), FIELD, None)
