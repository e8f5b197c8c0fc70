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
    Graph,
    Interval,
    Levels,
    Product,
    Sequence,
    Space,
    Torus,
    Vector,
    as_parts,
    batch_size,
    flatten,
    from_named,
    from_parts,
    named,
    size,
    unflatten,
)
from maquette.core.values import check, check_values
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


# --- graphs and sequences of variable length -----------------------------------------------------------

WORDS = Sequence(length=4, vocabulary=3, variable=True)
TRACK = Sequence(length=3, channels=2, variable=True)
GRAPH = Graph(node_types=2, edge_types=3, max_nodes=3)


def bond(*pairs, nodes=(1, 0, 0), count=2):
    """A graph with some edges, each given in one direction or in both."""
    edges = torch.zeros(1, 3, 3, dtype=torch.int64)
    for i, j, kind in pairs:
        edges[0, i, j] = kind
    return {"nodes": torch.tensor([nodes]), "edges": edges, "count": torch.tensor([count])}


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (WORDS, {"tokens": torch.tensor([[2, 0, 1, 1], [0, 0, 0, 0]]), "length": torch.tensor([4, 0])}),
        (WORDS, {"tokens": torch.tensor([[2, 0, 0, 0], [2, 0, 0, 0]]), "length": torch.tensor([2, 1])}),
        (TRACK, {"values": torch.tensor([[[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]]]), "length": torch.tensor([2])}),
        (GRAPH, bond((0, 1, 3), (1, 0, 3))),
        (GRAPH, bond(nodes=(0, 0, 0), count=0)),
        (GRAPH, bond((0, 2, 1), (2, 0, 1), nodes=(1, 1, 1), count=3)),
    ],
)
def test_padded_values_pass_and_survive_flattening(space, value):
    check_values(space, value)
    flat = flatten(space, value)
    assert flat.shape == (batch_size(value), size(space))
    again = unflatten(space, flat)
    assert set(again) == set(value)
    assert all(torch.equal(again[name], value[name]) for name in value)


@pytest.mark.parametrize(
    ("space", "value", "sentence"),
    [
        (
            WORDS,
            {"tokens": torch.tensor([[2, 1, 1, 0]]), "length": torch.tensor([2])},
            r"x\.tokens: expected zeros beyond the length, found 1 at \[2\] of sample 0",
        ),
        (
            WORDS,
            {"tokens": torch.zeros(1, 4), "length": torch.tensor([5])},
            r"x\.length: expected integer levels 0 .. 4, found 5",
        ),
        (
            WORDS,
            {"tokens": torch.full((1, 4), 3), "length": torch.tensor([4])},
            r"x\.tokens: expected integer levels 0",
        ),
        (WORDS, torch.zeros(1, 4), r"x: expected named tensors \['length', 'tokens'\], found one tensor"),
        (
            WORDS,
            {"tokens": torch.zeros(2, 4), "length": torch.zeros(2, 1)},
            r"x\.length: expected shape \(B, \*\(\)\), found \(2, 1\)",
        ),
        (
            TRACK,
            {"values": torch.ones(1, 3, 2), "length": torch.tensor([1])},
            r"x\.values: expected zeros beyond the length, found 1 at \[1, 0\]",
        ),
        (
            GRAPH,
            bond((0, 1, 3)),
            r"x\.edges: expected symmetric edges, found 3 from node 0 to 1 of",
        ),
        (GRAPH, bond((0, 1, 4), (1, 0, 4)), r"x\.edges: expected integer levels 0 .. 3, found 4"),
        (GRAPH, bond((1, 1, 1)), r"x\.edges: expected zeros on the diagonal, found 1 at \[1, 1\]"),
        (GRAPH, bond((0, 2, 1), (2, 0, 1)), r"x\.edges: expected zeros beyond the count, found 1 at \[0, 2\]"),
        (GRAPH, bond(nodes=(1, 1, 1)), r"x\.nodes: expected zeros beyond the count, found 1 at \[2\]"),
        (GRAPH, bond(nodes=(1, 2, 0)), r"x\.nodes: expected integer levels 0 .. 1, found 2"),
        (GRAPH, bond(count=4), r"x\.count: expected integer levels 0 .. 3, found 4"),
        (GRAPH, {"nodes": torch.zeros(1, 3)}, r"expected the parts \['count', 'edges', 'nodes'\], found \['nodes'\]"),
    ],
)
def test_padded_values_that_are_none_are_refused(space, value, sentence):
    with pytest.raises(SpaceError, match=sentence):
        check_values(space, value, what="x")


@pytest.mark.parametrize("part", [WORDS, GRAPH], ids=["sequence", "graph"])
def test_a_part_of_a_product_is_one_tensor(part):
    with pytest.raises(ValidationError, match='part "a": expected a space whose value is one tensor, found'):
        Product(parts={"a": part, "b": Vector(dim=1)})
