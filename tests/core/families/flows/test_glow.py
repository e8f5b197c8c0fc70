"""Flows of fields: any number of axes, periodic or not, at several scales."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.flows.coupling import Coupling
from maquette.core.families.flows.glow import GlowConfig, Leading, squeeze
from maquette.core.spaces import Field, Vector
from maquette.core.testing.bench import shaken
from maquette.core.testing.laws import LAWS

DEEP = GlowConfig(levels=2, steps=1, width=4)

WAVES = Field(channels=1, grid=(8,), periodic=(True,))

VOLUME = Field(channels=1, grid=(4, 2, 2), periodic=(True, True, False))

PIXELS = Field(channels=1, grid=(1, 2))

LABEL = Vector(dim=2)


@pytest.mark.parametrize("law", ["sample-condition", "inverse", "log-det", "gradients"])
@pytest.mark.parametrize("space", [WAVES, VOLUME], ids=["1-D", "3-D"])
def test_laws_on_grids_of_any_dimension(space, law):
    LAWS[law].check(DEEP if space is WAVES else GlowConfig.example(), space, LABEL)


@pytest.mark.parametrize("law", ["normalised", "sample-density"])
def test_the_density_of_two_cells(law):
    LAWS[law].check(GlowConfig.example(), PIXELS, LABEL)


def test_squeezing_moves_neighbours_into_channels():
    order, field = squeeze(Field(channels=1, grid=(4, 6)), kind="glow")
    assert field.shape == (4, 2, 3)
    flat = torch.arange(24)
    torch.testing.assert_close(flat[order].view(4, 2, 3)[:, 1, 2], torch.tensor([16, 17, 22, 23]))
    assert squeeze(Field(channels=2, grid=(3, 2)), kind="glow")[1].shape == (4, 3, 1)


def test_density_is_invariant_to_shifts_by_whole_blocks():
    flow = shaken(DEEP, Field(channels=1, grid=(8, 8), periodic=(True, False)), None)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x.roll(4, 2)), flow.log_prob(x), rtol=0, atol=1e-10)
    assert (flow.log_prob(x.roll(4, 3)) - flow.log_prob(x)).abs().min() > 1e-6


def test_codes_are_at_the_positions_of_their_cells():
    """Without rotations an untrained flow is the identity: permutations undo the squeezes."""
    config = GlowConfig(
        levels=2, steps=2, width=4, base={"kind": "random-field", "wavenumbers": [0.0, 1.0], "power": [2.0, 1.0]}
    )
    field = Field(channels=1, grid=(8, 4), periodic=(True, True))
    x = torch.randn(3, *field.shape)
    torch.testing.assert_close(config.build(field).encode(x), x.flatten(1))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Field(channels=1, grid=(6, 6)), r"found a grid of \[3, 3\] at one of them; choose fewer levels, or pad"),
        (Field(channels=1, grid=(2, 2, 2, 2)), "expected a grid of one, two or three axes"),
        (Vector(dim=4), "expected a field, found a vector"),
    ],
)
def test_impossible_grids_are_refused(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        DEEP.build(space)


def test_channels_that_leave_have_a_learned_prior():
    """Half of the channels leave level 1 with a shift and scale that depend on the other half and on the condition."""
    white = {"kind": "random-field", "wavenumbers": [0.0], "power": [1.0]}  # convolutions start as the identity
    field = Field(channels=1, grid=(4, 4), periodic=(True, True))
    flow = GlowConfig(levels=2, steps=1, width=4, base=white).build(field, LABEL).double()
    x, c = torch.randn(1, 16, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.encode(x.view(1, 1, 4, 4), c), x)
    leading = [lazy.lazy for lazy in flow.transforms if isinstance(lazy, Leading) and isinstance(lazy.lazy, Coupling)]
    _, split_prior, _ = leading  # between the couplings of the two levels
    with torch.no_grad():
        for parameter in split_prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))

    def encode(x, c):
        return flow.encode(x.view(1, 1, 4, 4), c)[0]

    of_x, of_c = (part.squeeze() for part in torch.autograd.functional.jacobian(encode, (x, c)))
    leaves = (of_c != 0).any(1)
    assert leaves.sum() == 8
    torch.testing.assert_close(of_x[~leaves], torch.eye(16, dtype=torch.float64)[~leaves])
    assert (of_x[leaves][:, ~leaves] != 0).any(1).all()
    assert (of_x[leaves][:, leaves].diagonal() != 1).all()
