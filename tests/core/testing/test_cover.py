"""The pairwise cover of cases leaves out no pair and no law that all combinations have."""

import pytest
from maquette.core.errors import ConfigError
from maquette.core.families import families
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.flows.glow import GlowConfig
from maquette.core.spaces import Binary, Graph, Interval, Levels, Product, Sequence, Vector, size
from maquette.core.testing.bench import all_states, draw
from maquette.core.testing.cover import cases, describe, largest, pairs, smallest
from maquette.core.testing.laws import LAWS, applicable, owed
from maquette.core.values import check_values


@pytest.mark.parametrize("name", families.names())
def test_the_cover_has_all_pairs_and_all_laws_of_all_combinations(name):
    config = families.get(name).example()
    few, full = cases(config), cases(config, full=True)
    assert set(map(describe, few)) <= set(map(describe, full))
    assert set().union(*map(pairs, few)) == set().union(*map(pairs, full))
    assert laws_by_support(config, few) == laws_by_support(config, full)


def laws_by_support(config, cases):
    return {(law, describe(case).split("-")[1]) for case in cases for law in applicable(config, *case)}


def test_a_cover_is_small_and_the_same_at_every_call():
    assert cases(MADEConfig()) == cases(MADEConfig())
    assert len(cases(MADEConfig())) == 21
    assert len(cases(MADEConfig(), full=True)) > 100


def test_spaces_that_a_family_refuses_are_left_out():
    assert {describe(case).split("-")[0] for case in cases(GlowConfig.example(), full=True)} == {"field"}


OWN = [name for name, family in families.items() if family.__module__.startswith("maquette.core")]
"""Without those of small domains, which other tests may have registered in the same process."""


@pytest.mark.parametrize("name", OWN)
def test_families_take_what_is_no_row_of_one_support_or_say_why_not(name):
    config = families.get(name).example()
    sorts = {describe(case).split("-")[0] for case in cases(config)}
    assert ("mixed" in sorts) == (name in {"dequantised", "fvsbn", "made", "nade", "recurrent", "transformer"})
    assert ("variable" in sorts) == (name in {"fvsbn", "nade", "recurrent", "transformer", "wavenet"})
    parts = {"a": Vector(dim=2, support=Levels(count=3)), "b": Vector(dim=1, support=Binary())}
    refused = [Graph(node_types=2, edge_types=1, max_nodes=3), Sequence(length=3, channels=1, variable=True)]
    refused += [] if "mixed" in sorts else [Product(parts=parts)]
    refused += [] if "variable" in sorts else [Sequence(length=3, vocabulary=3, variable=True)]
    for space in refused:
        with pytest.raises(ConfigError, match=r"expected|takes|needs"):
            config.build(space)


def test_values_of_the_bench_belong_to_their_spaces():
    spaces = [
        Graph(node_types=3, edge_types=2, max_nodes=4),
        Sequence(length=4, vocabulary=3, variable=True),
        Sequence(length=4, variable=True, support=Interval()),
        Sequence(length=4, channels=2, variable=True),
    ]
    for space in spaces:
        value = draw(space, 200, seed=0)
        check_values(space, value)
        sizes = value["count" if isinstance(space, Graph) else "length"]
        assert sizes.unique().tolist() == [0, 1, 2, 3, 4]


def test_states_of_tokens_with_an_end_are_those_of_all_lengths():
    states = all_states(Sequence(length=3, vocabulary=2, variable=True))
    assert len(states) == 1 + 2 + 4 + 8
    assert all_states(Graph(node_types=1, edge_types=1, max_nodes=2)) is None


def test_names_of_cases_tell_them_apart():
    names = list(map(describe, cases(MADEConfig(), full=True)))
    assert len(set(names)) == len(names)


def test_a_law_that_is_tried_once_meets_a_model_with_a_condition_and_one_without():
    for law in ("declaration", "saving"):
        assert LAWS[law].once
        conditions = [condition for name, _, condition in owed(MADEConfig()) if name == law]
        assert len(conditions) == 2
        assert conditions.count(None) == 1
    every = [law for law, *_ in owed(MADEConfig(), full=True)]
    assert every.count("saving") == len(cases(MADEConfig(), full=True))


def test_the_largest_and_the_smallest_case_have_a_condition():
    (space, condition), (small, given) = largest(MADEConfig()), smallest(MADEConfig())
    assert size(space) == max(size(x) for x, c in cases(MADEConfig()) if c == condition)
    assert size(condition) == 3
    assert size(small) == 1
    assert given is not None
