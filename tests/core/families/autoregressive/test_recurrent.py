"""Recurrent networks: their order, the neighbours of a pixel, and long dependencies."""

import math

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.raster import neighbours
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.spaces import Binary, Field, Levels, Sequence, Vector
from maquette.core.testing.bench import draw, shaken
from maquette.core.testing.laws import LAWS, applicable

GRU = RecurrentConfig(cell="gru", width=6)
RASTER = RecurrentConfig(cell="lstm", width=6, neighbours=True)


@pytest.mark.parametrize(
    ("config", "space", "condition"),
    [
        (GRU, Sequence(length=4, vocabulary=3), Vector(dim=2)),
        (GRU, Vector(dim=2), None),
        (RASTER, Field(channels=2, grid=(2, 3), support=Binary()), Vector(dim=2)),
        (RASTER, Field(channels=1, grid=(2, 2, 2), support=Levels(count=3)), None),
        (RASTER, Field(channels=1, grid=(4,)), None),
    ],
)
def test_every_variant_keeps_the_laws(config, space, condition):
    for law in applicable(config, space, condition):
        LAWS[law].check(config, space, condition)


def test_neighbours_are_one_pixel_back_along_every_axis():
    """Two channels of a 2 x 3 grid: feature 2 p + k is channel k of pixel p; 12 means none."""
    assert neighbours(Field(channels=2, grid=(2, 3))).T.tolist() == [
        [12, 12, 12, 12, 12, 12, 0, 1, 2, 3, 4, 5],
        [12, 12, 0, 1, 2, 3, 12, 12, 6, 7, 8, 9],
    ]
    # with one channel, the feature before is the neighbour along the last axis
    assert neighbours(Field(channels=1, grid=(3, 2))).T.tolist() == [[6, 6, 0, 1, 2, 3]]
    assert neighbours(Field(channels=1, grid=(4,))).shape == (4, 0)


def test_fields_are_read_pixel_by_pixel():
    assert RASTER.build(Field(channels=2, grid=(1, 3))).order.tolist() == [0, 3, 1, 4, 2, 5]


def test_the_pixel_above_is_seen_directly():
    """Without the state, a conditional still depends on the pixel above."""
    space = Field(channels=1, grid=(3, 4))
    for config, expected in ((RASTER, True), (RecurrentConfig(width=6), False)):
        model = shaken(config, space, None)
        with torch.no_grad():
            for name, parameter in model.network.cell.named_parameters():
                gates = parameter.chunk(4)  # input, forget, cell, output
                if name.startswith("weight_hh"):
                    parameter.zero_()
                if name.startswith("bias"):
                    gates[1].fill_(-1e3)
                if name.startswith("weight_ih"):
                    gates[1].zero_()
        x = draw(space, 1, 1).requires_grad_()
        (slope,) = torch.autograd.grad(model.conditionals(x)[0, 6].sum(), x)
        assert (slope[0, 0, 0, 2] != 0).item() == expected
        assert slope[0, 0, 1, 1] != 0
        assert slope[0, 0, 0, 1] == 0


@pytest.mark.parametrize("depth", [1, 2])
def test_forget_gates_of_an_lstm_start_open(depth):
    """Without weights, a state of one keeps sigmoid(1) of itself, whatever the input and output gates are."""
    cell = RecurrentConfig(width=3, depth=depth).build(Vector(dim=4)).network.cell
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            if not name.startswith("bias_ih"):
                parameter.zero_()
        states = (torch.ones(depth, 1, 3), torch.zeros(depth, 1, 3))
        after = [cell(torch.zeros(1, 1, 3), (torch.zeros(depth, 1, 3), state))[1][1] for state in states]
    torch.testing.assert_close(after[0] - after[1], torch.full((depth, 1, 3), 1 / (1 + math.exp(-1))))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_remembers_the_first_letter_to_the_end(cell, nats_after_fit):
    """A letter, two blanks, the letter again: log 3 nats with a memory of the first letter, 2 log 3 without."""
    letters = torch.arange(1, 4).repeat(8)
    x = torch.stack((letters, *[torch.zeros_like(letters)] * 2, letters), dim=1)
    nats = nats_after_fit(RecurrentConfig(cell=cell, width=16), Sequence(length=4, vocabulary=4), x, lr=0.02, steps=120)
    assert nats == pytest.approx(math.log(3), abs=0.1)


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (GRU, Vector(dim=1), "recurrent: expected at least 2 features per sample, found 1; use fvsbn"),
        (RASTER, Vector(dim=4), "neighbours: expected a field, found a vector"),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)
