"""Values of a space lie flat and come back; what is not a value is refused in a sentence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.layout import Layout
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import (
    Binary,
    Field,
    Graph,
    Interval,
    Levels,
    Product,
    Sequence,
    Simplex,
    Space,
    Torus,
    Vector,
    batch_size,
    check,
    flatten,
    size,
    unflatten,
)
from pydantic import TypeAdapter

parts = st.one_of(
    st.builds(Vector, dim=st.integers(1, 4)),
    st.builds(Field, channels=st.integers(1, 2), grid=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)),
)
spaces = st.one_of(
    parts, st.builds(Product, parts=st.dictionaries(st.sampled_from("abcd"), parts, min_size=1, max_size=4))
)


@given(space=spaces, n=st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_flatten_and_unflatten_are_inverse(space, n):
    flat = torch.randn(n, size(space))
    value = unflatten(space, flat)
    check(space, value)
    assert batch_size(value) == n
    assert torch.equal(flatten(space, value), flat)


@given(space=spaces)
@settings(max_examples=25, deadline=None)
def test_spaces_survive_json(space):
    adapter = TypeAdapter(Space)
    assert adapter.validate_json(adapter.dump_json(space)) == space


PAIR = Product(parts={"a": Vector(dim=2), "b": Field(channels=1, grid=(2, 3))})


@pytest.mark.parametrize(
    ("space", "value", "sentence"),
    [
        (Vector(dim=2), torch.zeros(3, 4), r"x: expected shape \(B, \*\(2,\)\), found \(3, 4\)"),
        (Vector(dim=2), {"a": torch.zeros(3, 2)}, r"x: expected a tensor of shape \(B, 2\)"),
        (PAIR, torch.zeros(3, 8), r"x: expected named tensors \['a', 'b'\], found one tensor"),
        (PAIR, {"a": torch.zeros(3, 2)}, r"x: expected the parts \['a', 'b'\], found \['a'\]"),
        (PAIR, {"a": torch.zeros(3, 2), "b": torch.zeros(3, 6)}, r"x\.b: expected shape"),
    ],
)
def test_what_is_not_a_value_is_refused(space, value, sentence):
    with pytest.raises(SpaceError, match=sentence):
        check(space, value, what="x")


# --- rows of a layout ---------------------------------------------------------------------------------

MIXED = Product(parts={"kind": Vector(dim=2, support=Levels(count=3)), "on": Vector(dim=1, support=Binary())})


def test_integer_levels_become_one_hot_columns():
    layout = Layout(Vector(dim=1), MIXED)
    assert layout.context == 7
    condition = {"kind": torch.tensor([[0, 2]]), "on": torch.tensor([[1.0]])}
    columns = layout.columns(condition, torch.zeros(1, 1, dtype=torch.float64))
    assert columns.tolist() == [[1, 0, 0, 0, 0, 1, 1]]
    assert columns.dtype == torch.float64


def test_angles_become_points_on_a_circle_whatever_their_turns():
    layout = Layout(Vector(dim=1), Vector(dim=2, support=Torus(period=4.0)))
    turned = torch.tensor([[0.0, 1.0], [4.0, -7.0]], dtype=torch.float64)
    columns = layout.columns(turned, torch.zeros(2, 1, dtype=torch.float64))
    assert layout.context == 4
    torch.testing.assert_close(columns, torch.tensor(2 * [[1.0, 0, 0, 1]], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "space",
    [
        Vector(dim=1, support=Interval()),
        Sequence(length=3, vocabulary=5),
        Graph(node_types=2, edge_types=2, max_nodes=3),
        Product(parts={"a": Vector(dim=1), "b": Vector(dim=2, support=Simplex())}),
    ],
)
def test_a_layout_refuses_samples_it_cannot_lay_out(space):
    with pytest.raises(ConfigError, match=r"samples.*takes a vector, field or sequence of real support, found"):
        Layout(space)


def test_a_layout_refuses_conditions_it_cannot_lay_out():
    with pytest.raises(ConfigError, match="conditions: this model takes"):
        Layout(Vector(dim=1), Sequence(length=3, vocabulary=5, variable=True))


def test_a_layout_tells_the_one_support_of_its_samples():
    tokens = Product(parts={"a": Sequence(length=3, vocabulary=5), "b": Vector(dim=2, support=Levels(count=5))})
    assert Layout(tokens, supports=(Levels,)).support == Levels(count=5)
    with pytest.raises(ConfigError, match="parts of one support, found"):
        _ = Layout(MIXED, supports=(Binary, Levels)).support


@pytest.mark.parametrize(
    ("condition", "given", "sentence"),
    [
        (None, torch.zeros(2, 1), "built without one"),
        (Vector(dim=1), None, "built with one"),
        (Vector(dim=1), torch.zeros(3, 1), "expected 2 rows, one per sample, found 3"),
        (Vector(dim=1), torch.zeros(2, 2), "condition: expected shape"),
    ],
)
def test_conditions_must_fit_the_model(condition, given, sentence):
    with pytest.raises(SpaceError, match=sentence):
        Layout(Vector(dim=1), condition).columns(given, torch.zeros(2, 1))


def test_noise_must_have_a_row_per_sample():
    with pytest.raises(SpaceError, match="expected 3 rows, one per sample, found 2"):
        Layout(Vector(dim=1)).prior(3, KeyedNoise(0, torch.arange(2)))
