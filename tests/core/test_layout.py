"""Samples as features and conditions as context; what cannot be either is refused in a sentence."""

import pytest
import torch
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.layout import Layout
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Binary, Complex, Field, Graph, Interval, Levels, Product, Real, Sequence, Torus, Vector

MIXED = Product(parts={"kind": Vector(dim=2, support=Levels(count=3)), "on": Vector(dim=1, support=Binary())})


def test_integer_levels_become_one_hot_vectors():
    layout = Layout(Vector(dim=1), MIXED)
    assert layout.context_features == 7
    condition = {"kind": torch.tensor([[0, 2]]), "on": torch.tensor([[1.0]])}
    context = layout.context(condition, torch.zeros(1, 1, dtype=torch.float64)).vector
    assert context.tolist() == [[1, 0, 0, 0, 0, 1, 1]]
    assert context.dtype == torch.float64


def test_angles_become_points_on_a_circle_whatever_their_turns():
    layout = Layout(Vector(dim=1), Vector(dim=2, support=Torus(period=4.0)))
    turned = torch.tensor([[0.0, 1.0], [4.0, -7.0]], dtype=torch.float64)
    context = layout.context(turned, torch.zeros(2, 1, dtype=torch.float64)).vector
    assert layout.context_features == 4
    torch.testing.assert_close(context, torch.tensor(2 * [[1.0, 0, 0, 1]], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "space",
    [
        Vector(dim=1, support=Interval()),
        Sequence(length=3, vocabulary=5),
        Product(parts={"a": Vector(dim=1), "b": Vector(dim=2, support=Binary())}),
    ],
)
def test_a_layout_refuses_samples_it_cannot_flatten(space):
    with pytest.raises(ConfigError, match=r"samples.*takes a vector, field or sequence of real support, found"):
        Layout(space)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (Graph(node_types=2, edge_types=2, max_nodes=3), "found a graph; a codec turns graphs into tokens"),
        (Vector(dim=2, support=Complex()), "complex ones; a codec turns each into two real channels"),
        (Sequence(length=3, vocabulary=5, variable=True), "of variable length and levels support; take the transf"),
        (Sequence(length=3, channels=2, variable=True), "of variable length and real support"),
    ],
)
def test_a_refusal_says_what_a_codec_or_another_family_does(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Layout(space, supports=(Levels, Real))
    with pytest.raises(ConfigError, match=sentence.split(";")[0]):
        Layout(Vector(dim=1), space)


def test_tokens_of_variable_length_are_laid_out_where_a_model_takes_them():
    words = Sequence(length=3, vocabulary=5, variable=True)
    assert Layout(words, supports=(Levels,), variable=True).features == 3
    with pytest.raises(ConfigError, match="variable length and real"):
        Layout(Sequence(length=3, channels=2, variable=True), variable=True)


def test_a_layout_refuses_conditions_it_cannot_embed():
    with pytest.raises(ConfigError, match="conditions: this model takes"):
        Layout(Vector(dim=1), Sequence(length=3, vocabulary=5, variable=True))


def test_all_parts_of_a_sample_must_share_one_support():
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
        Layout(Vector(dim=1), condition).context(given, torch.zeros(2, 1))


def test_noise_must_have_the_batch_size_of_the_samples():
    with pytest.raises(SpaceError, match="expected a batch size of 3, one per sample, found 2"):
        Layout(Vector(dim=1)).prior(3, KeyedNoise(0, torch.arange(2)))


IMAGE = Field(channels=2, grid=(2, 3))
BESIDE = Product(
    parts={
        "theta": Vector(dim=2),
        "phase": Field(channels=1, grid=(2, 3), support=Levels(count=3)),
        "angle": Field(channels=1, grid=(2, 3), support=Torus(period=4.0)),
        "coarse": Field(channels=1, grid=(1, 2)),
    }
)


def test_fields_on_the_grid_of_the_samples_stay_fields():
    layout = Layout(IMAGE, BESIDE)
    phase, angle = torch.tensor([[[[0, 1, 2], [2, 2, 0]]]]), torch.tensor([[[[0.0, 1, 2], [3, 0, 1]]]])
    given = {"theta": torch.ones(1, 2), "phase": phase, "angle": angle, "coarse": torch.zeros(1, 1, 1, 2)}
    vector, fields = layout.context(given, torch.zeros(1, 12))
    assert (layout.vector_features, layout.field_channels) == (4, 5)
    assert vector.tolist() == [[1, 1, 0, 0]], "a field on another grid has no cells in common with the samples"
    assert fields.shape == (1, 5, 2, 3)
    assert torch.equal(fields[:, :3].argmax(1), phase[:, 0]), "each level has a channel, cell by cell"
    assert torch.equal(fields[:, :3].sum(1), torch.ones(1, 2, 3))
    turn = torch.atan2(fields[:, 4], fields[:, 3]) % (2 * torch.pi) / (2 * torch.pi) * 4
    torch.testing.assert_close(turn, angle[:, 0])


def test_a_field_as_condition_is_not_flattened_silently():
    with pytest.raises(ConfigError, match='condition "phase": it is a field on the grid of the samples'):
        _ = Layout(IMAGE, BESIDE).context_features
    assert Layout(Vector(dim=2), IMAGE).context_features == 12, "samples without a grid take fields as features"


def test_a_layout_moves_to_another_grid_with_its_field_conditions():
    moved = Layout(IMAGE, BESIDE).at(Field(channels=2, grid=(4, 6)))
    assert moved.condition.parts["phase"].grid == moved.condition.parts["angle"].grid == (4, 6)
    assert moved.condition.parts["coarse"].grid == (1, 2)
    with pytest.raises(ConfigError, match="with other sides of its grids, found"):
        Layout(IMAGE).at(Field(channels=3, grid=(4, 6)))
