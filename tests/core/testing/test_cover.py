"""The pairwise cover of cases leaves out no pair and no law that all combinations have."""

import pytest
from maquette.core.families import families
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.flows.glow import GlowConfig
from maquette.core.spaces import size
from maquette.core.testing.cover import cases, describe, largest, pairs, smallest
from maquette.core.testing.laws import LAWS, applicable, owed


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
    assert len(cases(MADEConfig())) == 17
    assert len(cases(MADEConfig(), full=True)) > 100


def test_spaces_that_a_family_refuses_are_left_out():
    assert {describe(case).split("-")[0] for case in cases(GlowConfig.example(), full=True)} == {"field"}


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
