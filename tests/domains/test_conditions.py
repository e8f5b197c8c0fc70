"""Tables of conditions: of cosmological boxes, with five parameters, two masses and one of three codes."""

import pytest
import torch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Levels
from maquette.data_specs.errors import DataError
from maquette.domains.conditions import Condition, ConditionTable

KNOWN = (
    Condition("theta"),
    Condition("mass", unit="GeV", log=True, factors={"gev": 1.0, "tev": 1e3}),
    Condition("code", values=(10, 20, 30)),
)
WIDTHS = {"code": 1, "mass": 2, "theta": 5}


def rows(n: int) -> dict[str, torch.Tensor]:
    noise = KeyedNoise(0, torch.arange(n))
    code = 10 * (1 + torch.arange(n)[:, None] % 2)  # never 30
    return {"code": code, "mass": (3 * noise.normal("mass", (2,))).exp(), "theta": noise.uniform("theta", (5,))}


@pytest.fixture(scope="module")
def table() -> ConditionTable:
    table = ConditionTable(KNOWN, WIDTHS)
    table.fit(table.concatenate(rows(500)))
    return table


def test_the_order_is_that_of_the_domain(table: ConditionTable) -> None:
    assert list(table.widths) == list(table.space.parts) == ["theta", "mass", "code"]
    assert table.space.parts["code"].support == Levels(count=3)
    for name, value in table.split(table.concatenate(rows(4))).items():
        assert torch.equal(value, rows(4)[name])


def test_each_number_has_a_scale_of_its_own(table: ConditionTable) -> None:
    encoded = table.encode(rows(500))
    torch.testing.assert_close(encoded["mass"].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded["mass"].std(0), torch.ones(2))
    assert torch.equal(encoded["theta"], rows(500)["theta"])
    assert encoded["code"][:3, 0].tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="Unknown code 11; known"):
        table.encode(rows(2) | {"code": torch.tensor([[10], [11]])})
    with pytest.raises(SpaceError, match="conditions by name"):
        table.encode(None)


def test_several_real_numbers_are_drawn_together(table: ConditionTable) -> None:
    """Nothing lies between the parameters of two boxes."""
    drawn = table.draw(KeyedNoise(1, torch.arange(300)))
    trained = table.concatenate(rows(500))
    assert all((row == trained).all(1).any() for row in table.concatenate(drawn))
    assert len(drawn["theta"].unique(dim=0)) > 100


def test_one_real_number_is_drawn_between_neighbours() -> None:
    table = ConditionTable(KNOWN, {"mass": 1})
    trained = 1.0 + torch.arange(5000)
    table.fit(trained[:, None])
    drawn = table.draw(KeyedNoise(1, torch.arange(300)))["mass"]
    assert ((drawn >= 1) & (drawn <= 5000)).all()
    assert (drawn != drawn.round()).float().mean() > 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"theta": "0.1,0.2"}, "condition.theta: expected 5 numbers"),
        ({"theta": "0.5,0.5,0.5,0.5,2"}, r"condition.theta: the model was trained on 0.* and .* found 2\."),
        ({"mass": "1 TeV, 1e9"}, r"condition.mass: the model was trained on .* GeV and .* GeV .* found 1e\+09"),
        ({"mass": "heavy,1"}, "condition.mass: expected a number, found 'heavy'"),
        ({"code": "30"}, r"condition.code: the model was trained on the codes \[10, 20\] .* found 30"),
        ({"code": "a"}, "condition.code: expected a whole number of 10, 20, 30; found 'a'"),
        ({"thetas": "1"}, 'condition.thetas: the model has no such condition. Did you mean "theta"'),
    ],
)
def test_text_that_does_not_fit_is_a_sentence(table: ConditionTable, changes: dict[str, str], words: str) -> None:
    good = {"theta": "0.5,0.5,0.5,0.5,0.5", "mass": "0.001 TeV, 2", "code": "20"}
    assert table.parse(good, 2)["mass"].tolist() == [[1.0, 2.0]] * 2
    with pytest.raises(ConfigError, match=words):
        table.parse(good | changes, 1)


def test_models_of_a_domain_have_the_same_buffers_whatever_their_data_have() -> None:
    few, many = ConditionTable(KNOWN, {"theta": 5}), ConditionTable(KNOWN, WIDTHS)
    assert set(few.state_dict()) == set(many.state_dict())
