"""Values of a space are flattened and restored; what is not a value is refused in a sentence."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maquette.core.errors import SpaceError
from maquette.core.spaces import (
    CONDITION,
    Binary,
    Complex,
    Field,
    Interval,
    Levels,
    Product,
    Sequence,
    Simplex,
    Space,
    Torus,
    Vector,
    as_parts,
    batch_size,
    check,
    check_values,
    flatten,
    from_named,
    from_parts,
    named,
    size,
    unflatten,
)
from pydantic import TypeAdapter, ValidationError

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


@pytest.mark.parametrize(
    ("kind", "keys", "sentence"),
    [
        (Sequence, {"length": 3, "vocabulary": 1}, "vocabulary\n.*greater than or equal to 2"),
        (Sequence, {"length": 3, "channels": 0}, "channels\n.*greater than or equal to 1"),
        (Field, {"channels": 1, "grid": (0, 4)}, r"grid.0\n.*greater than or equal to 1"),
        (Field, {"channels": 1, "grid": (2, 4), "periodic": (True,)}, "one boolean for each of 2 axes, .* found 1"),
        (Field, {"channels": 1, "grid": (), "periodic": (True,)}, "one boolean for each of 0 axes, .* found 1"),
        (Interval, {"low": 1.0, "high": 1.0}, r"low end lies below the high one, found \[1.0, 1.0\]"),
        (Interval, {"low": 2.0}, r"low end lies below the high one, found \[2.0, 1.0\]"),
        (Interval, {"high": math.inf}, "high\n.*finite number"),
        (Interval, {"low": math.nan}, "low\n.*finite number"),
        (Torus, {"period": 0.0}, "period\n.*greater than 0"),
        (Torus, {"period": math.inf}, "period\n.*finite number"),
        (Product, {"parts": {}}, "parts\n.*at least 1 item"),
    ],
)
def test_impossible_spaces_are_refused(kind, keys, sentence):
    with pytest.raises(ValidationError, match=sentence):
        kind(**keys)


# --- named parts ---------------------------------------------------------------------------------------


def test_parts_and_tensors_are_named_alike():
    alone = Vector(dim=2)
    assert as_parts(None) == named(None) == {}
    assert as_parts(PAIR) == PAIR.parts
    assert list(as_parts(alone)) == list(named(torch.zeros(3, 2))) == [CONDITION]
    assert list(as_parts(alone, "x")) == list(named(torch.zeros(3, 2), "x")) == ["x"]
    for space in (alone, PAIR):
        value = unflatten(space, torch.randn(3, size(space)))
        assert from_parts(as_parts(space)) == space
        check(from_parts(as_parts(space) | {"c": alone}), from_named(named(value) | {"c": torch.zeros(3, 2)}))


def test_naming_makes_a_dictionary_of_its_own():
    value = {"a": torch.zeros(3, 2)}
    assert named(value) == value
    assert named(value) is not value
    assert as_parts(PAIR) is not PAIR.parts


# --- values of a support ------------------------------------------------------------------------------

UNEVEN = Interval(low=0.1, high=0.3)
LABELS = Product(parts={"a": Vector(dim=1), "b": Vector(dim=2, support=Levels(count=3))})


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Vector(dim=2), [[-1e30, 1e30]]),
        (Vector(dim=1, support=Complex()), [[1 + 2j]]),
        (Vector(dim=2, support=Torus()), [[-100.0, 7.0]]),
        (Vector(dim=2, support=UNEVEN), torch.tensor([[0.1, 0.3]]).double()),  # float32 has neither value
        (Vector(dim=2, support=Binary()), [[0.0, 1.0]]),
        (Vector(dim=2, support=Binary()), [[False, True]]),
        (Sequence(length=2, vocabulary=5), [[0, 4]]),
        (Vector(dim=2, support=Levels(count=3)), [[0.0, 2.0]]),
        (Vector(dim=3, support=Simplex()), [[0.1, 0.2, 0.7]]),
        (Vector(dim=2, support=Levels(count=3)), torch.zeros(0, 2)),
        (LABELS, {"a": torch.ones(1, 1), "b": torch.tensor([[0, 2]])}),
    ],
)
def test_values_within_their_support_pass(space, values):
    check_values(space, values if isinstance(values, dict) else torch.as_tensor(values))


@pytest.mark.parametrize(
    ("space", "values", "sentence"),
    [
        (Vector(dim=2), [[0.0, math.nan]], "x: expected finite values, found 1 of 2 that are not"),
        (Vector(dim=2, support=Torus()), [[math.inf, -math.inf]], "expected finite values, found 2 of 2"),
        (Vector(dim=2, support=UNEVEN), [[0.2, 0.301]], r"values in \[0.1, 0.3\], found 0.301 among values from 0.2"),
        (Vector(dim=2, support=Binary()), [[1.0, 0.5]], "zeros and ones, found 0.5 among values from 0.5 to 1"),
        (Sequence(length=2, vocabulary=5), [[0, 7]], r"levels 0 .. 4, found 7 among values from 0 to 7"),
        (Sequence(length=2, vocabulary=5), [[-1, 4]], r"levels 0 .. 4, found -1 among"),
        (Vector(dim=2, support=Levels(count=3)), [[0.0, 1.5]], r"levels 0 .. 2, found 1.5 among"),
        (Vector(dim=2, support=Simplex()), [[0.5, 0.6]], "sum to 1 along the last axis, found 0.5 among"),
        (Vector(dim=2, support=Simplex()), [[-0.5, 1.5]], "from 0 on .*, found -0.5 among"),
        (
            LABELS,
            {"a": torch.ones(1, 1), "b": torch.tensor([[0, 3]])},
            r"x\.b: expected integer levels 0 .. 2, found 3",
        ),
        (Vector(dim=3), [[0.0, 0.0]], "expected shape"),
    ],
)
def test_values_outside_of_their_support_are_refused(space, values, sentence):
    with pytest.raises(SpaceError, match=sentence):
        check_values(space, values if isinstance(values, dict) else torch.tensor(values), what="x")
