"""Conditions: encoded, limited to the range of training, and drawn as in training."""

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.conditions import PARTICLES
from maquette.data_specs.errors import DataError
from small_stacks import RINGS, fitted, showers


def test_particles_and_angles_are_conditions_like_the_energy() -> None:
    source = showers(RINGS, 200)
    particle = torch.where(torch.arange(200)[:, None] % 2 == 0, 11, 22)
    angle = torch.rand(200, 2)
    rich = TensorSource(source.x, {**source.condition, "particle": particle, "angle": angle})
    codec = fitted(RINGS, rich, particle=1, angle=2)
    encoded = codec.encode_condition(rich.condition)
    assert set(encoded) == {"energy", "particle", "angle"}
    assert encoded["particle"][:2, 0].tolist() == [PARTICLES.index(11), PARTICLES.index(22)]
    drawn = codec.draw_condition(KeyedNoise(1, torch.arange(64)))
    assert set(drawn["particle"].flatten().tolist()) == {11, 22}
    assert drawn["angle"].shape == (64, 2)
    with pytest.raises(DataError, match="Unknown particle 99"):
        codec.encode_condition({**rich.condition, "particle": torch.full((200, 1), 99)})


def test_conditions_are_drawn_from_the_distribution_of_training() -> None:
    source = showers(RINGS, 500)
    codec = fitted(RINGS, source)
    drawn = codec.draw_condition(KeyedNoise(1, torch.arange(4000)))["energy"]
    assert drawn.min() >= source.condition["energy"].min()
    assert drawn.max() <= source.condition["energy"].max()
    assert drawn.log().mean().item() == pytest.approx(source.condition["energy"].log().mean().item(), abs=0.06)
