"""Conditions from the command line: units, limits, and sentences for what does not fit."""

import pytest
import torch
from maquette.core.errors import ConfigError
from maquette.domains.calorimeter.codec.codec import ShowerCodec, ShowerCodecConfig
from maquette.domains.calorimeter.conditions import parse_conditions
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.sample import sample_path


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
    assert parse_conditions({"energy": text}, 3, codec)["energy"].tolist() == [[energy]] * 3


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
        parse_conditions(values, 1, codec)


def test_particles_and_angles(codec: ShowerCodec) -> None:
    rich = ShowerCodec(ShowerCodecConfig(), codec.geometry, {"energy": 1, "particle": 1, "angle": 2})
    rich.law.copy_(torch.cat((codec.law, torch.zeros(len(codec.law), 3)), dim=1))
    given = parse_conditions({"energy": "2 GeV", "particle": "-11", "angle": "0.1,0.2"}, 2, rich)
    assert given["particle"].tolist() == [[-11], [-11]]
    torch.testing.assert_close(given["angle"], torch.tensor([[0.1, 0.2]] * 2))
    with pytest.raises(ConfigError, match="expected a PDG number"):
        parse_conditions({"energy": "2 GeV", "particle": "electron", "angle": "0,0"}, 1, rich)
    with pytest.raises(ConfigError, match="expected 2 numbers"):
        parse_conditions({"energy": "2 GeV", "particle": "11", "angle": "0"}, 1, rich)
