"""Conditions from the command line: units, limits, and sentences for what does not fit."""

from pathlib import Path

import pytest
import torch
import yaml
from maquette.core.data import TensorSource
from maquette.core.errors import ConfigError
from maquette.core.noise import KeyedNoise
from maquette.data_specs.calorimeter.geometry_json import geometry_to_json
from maquette.domains.calorimeter.codec.codec import ShowerCodec, ShowerCodecConfig
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.generator import ShowerGeneratorConfig
from maquette.domains.calorimeter.plugin import CALORIMETER
from maquette.domains.calorimeter.sample import sample_path
from maquette.domains.generator import load_generator


@pytest.fixture(scope="module")
def codec() -> ShowerCodec:
    data = ShowerDataset(sample_path()).rows(0, 500)
    codec = ShowerCodecConfig().build(data.description)
    codec.fit(data)
    return codec


@pytest.mark.parametrize(
    ("text", "energy"), [("5000", 5000.0), ("5 GeV", 5000.0), ("2500MeV", 2500.0), ("2.5e3", 2500)]
)
def test_energies_have_units(codec: ShowerCodec, text: str, energy: float) -> None:
    assert codec.condition_codec.parse({"energy": text}, 3)["energy"].tolist() == [[energy]] * 3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"energi": "5000"}, 'Did you mean "energy"'),
        ({}, "needs it as well"),
        ({"energy": "much"}, "expected a number, found 'much'"),
        ({"energy": "50 GeV"}, "trained on 1"),
        ({"energy": "nan"}, "trained on 1"),
        ({"energy": "5"}, "trained on 1"),
    ],
)
def test_what_does_not_fit_is_a_sentence(codec: ShowerCodec, values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        codec.condition_codec.parse(values, 1)


@pytest.fixture(scope="module")
def rich() -> ShowerCodec:
    """Fitted to electrons and positrons at angles of up to (0.5, 1)."""
    data = ShowerDataset(sample_path()).rows(0, 100)
    batch = data.fetch(torch.arange(100))
    assert isinstance(batch.condition, dict)
    torch.manual_seed(0)
    particle = torch.where(torch.arange(100)[:, None] % 2 == 0, 11, -11)
    angle = torch.rand(100, 2) * torch.tensor([0.5, 1.0])
    codec = ShowerCodecConfig().build({**data.description, "conditions": {"angle": 2, "energy": 1, "particle": 1}})
    # in yet another order
    codec.fit(TensorSource(batch.x, {"particle": particle, "angle": angle, **batch.condition}))
    return codec


GOOD = {"energy": "2 GeV", "particle": "-11", "angle": "0.1,0.2"}


def test_particles_and_angles(rich: ShowerCodec) -> None:
    given = rich.condition_codec.parse(GOOD, 2)
    assert isinstance(given, dict)
    assert list(given) == ["energy", "particle", "angle"]
    assert given["particle"].tolist() == [[-11], [-11]]
    torch.testing.assert_close(given["angle"], torch.tensor([[0.1, 0.2]] * 2))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"particle": "electron"}, "expected a whole number of 22, 11"),
        ({"particle": "22"}, r"condition.particle: the model was trained on the particles \[11, -11\] .* found 22"),
        ({"angle": "0"}, "expected 2 numbers"),
        ({"angle": "0.1,1.1"}, r"condition.angle: the model was trained on 0.00\d* .. 0.\d* rad and .* found 1.1"),
        ({"angle": "nan,0.1"}, "cannot extrapolate; found nan"),
        ({"angle": "-7,100"}, "cannot extrapolate; found -7"),
    ],
)
def test_particles_and_angles_beyond_training(rich: ShowerCodec, values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        rich.condition_codec.parse(GOOD | values, 1)


def test_many_conditions_are_judged_like_one(rich: ShowerCodec) -> None:
    many = {
        "angle": torch.full((5, 2), 0.1),
        "energy": torch.full((5, 1), 3000.0),
        "particle": torch.full((5, 1), 11),
        "colour": torch.zeros(5, 1),
    }
    accepted = rich.accept(many)
    assert isinstance(accepted, dict)
    assert list(accepted) == ["energy", "particle", "angle"]
    with pytest.raises(ConfigError, match=r"a.h5: particle: the model needs this condition too, found \[.angle"):
        rich.accept({name: value for name, value in many.items() if name != "particle"}, where="a.h5: ")
    many["energy"][3] = 3e5
    with pytest.raises(
        ConfigError, match=r"a.h5: energy: the model was trained on 1.* MeV .* found 300000 in row 1003\."
    ):
        rich.accept(many, where="a.h5: ", first=1000)
    with pytest.raises(ConfigError, match="expected 2 values per sample"):
        rich.accept(many | {"angle": torch.zeros(5, 1)})


def test_a_model_of_many_conditions_is_the_same_after_loading(rich: ShowerCodec, tmp_path: Path) -> None:
    recipe = yaml.safe_load(CALORIMETER.recipes()["smoke"].read_text(encoding="utf-8"))
    config = ShowerGeneratorConfig.model_validate(recipe["generator"])
    description = {"geometry": geometry_to_json(rich.geometry), "conditions": {"energy": 1, "particle": 1, "angle": 2}}
    torch.manual_seed(0)
    generator = config.build(description)
    generator.codec.load_state_dict(rich.state_dict())
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    generator.save(tmp_path / "model")
    again = load_generator(tmp_path / "model", ShowerGeneratorConfig)
    noise = KeyedNoise(1, torch.arange(50))
    condition = generator.codec.draw_condition(noise.fold("condition"))
    for name, value in again.codec.draw_condition(noise.fold("condition")).items():
        assert torch.equal(value, condition[name])
    generator.eval()
    assert torch.equal(generator.sample(50, condition, noise=noise), again.sample(50, condition, noise=noise))
    turned = generator.codec.encode_condition(dict(reversed(condition.items())))
    for name, value in generator.codec.encode_condition(condition).items():
        assert torch.equal(value, turned[name])
