"""What families are tried on: small spaces and conditions, few enough to run and enough to meet every pair of sorts."""

from __future__ import annotations

from collections import Counter

from ..errors import ConfigError
from ..families import FamilyConfig
from ..layout import parts
from ..spaces import (
    Binary,
    Field,
    Interval,
    Levels,
    Product,
    Real,
    Sequence,
    Space,
    Support,
    Torus,
    Vector,
    size,
    support_of,
)

SUPPORTS: dict[str, Support] = {
    "real": Real(),
    "binary": Binary(),
    "levels": Levels(count=3),
    "interval": Interval(),
    "torus": Torus(),
}
"""A support of each name that a family may declare."""

CONDITIONS: tuple[Space | None, ...] = (
    None,
    Vector(dim=2),
    Product(
        parts={
            "energy": Vector(dim=1),
            "kind": Vector(dim=1, support=Levels(count=3)),
            "angle": Vector(dim=1, support=Torus()),
        }
    ),
)
"""A condition of each sort: none, a vector, named parts with a label among them."""

Case = tuple[Space, Space | None]
"""A space of samples, and one of conditions."""


def cases(config: FamilyConfig, *, full: bool = False) -> list[Case]:
    """Small spaces and conditions for the sorts of space and the supports that the family says it models.

    A case has a sort of space (vector, field, ...), a support, a sort of condition and a size; how many features a
    sample has matters, because some laws can only be tried on a plane or where all states can be listed. All pairs of
    space, support and condition occur in some case, all pairs of support and size, and a plane with a condition and
    without one. If the network takes fields there are two more: a field given a field, and given a field and a vector.
    If it takes levels there are up to four: parts of two supports, and tokens of variable length, each with a condition
    and without one.

    Args:
        config: of the family.
        full: all combinations instead, some hundred for a family of many supports.

    Raises:
        AssertionError: it can be built for none of them.

    >>> from maquette.core.families.flows.coupling import CouplingConfig
    >>> for case in cases(CouplingConfig())[:3]:
    ...     print(describe(case))
    product-real-2-none
    field-real-32-vector
    product-real-2-product
    """
    product = [
        (space, condition)
        for support in config.supports
        for space in _spaces(SUPPORTS[support])
        if space.kind in config.spaces
        for condition in CONDITIONS
    ]
    found = [case for case in product if _builds(config, case)] if full else _cover(config, product)
    found += [case for case in _field_cases(config) + _level_cases(config) if _builds(config, case)]
    assert found, f"{type(config).__name__}: none of its spaces {config.spaces} could be tried"
    return found


def _spaces(support: Support) -> list[Space]:
    return [
        Vector(dim=5, support=support),
        Vector(dim=2, support=support),
        Vector(dim=1, support=support),
        *([Vector(dim=10, support=support)] if isinstance(support, Binary) else []),  # 1024 states
        Field(channels=1, grid=(3, 2), support=support),
        Field(channels=2, grid=(4, 4), support=support),
        _sequence(5, support),
        _sequence(2, support),
        Product(parts={"a": Vector(dim=2, support=support), "b": Field(channels=1, grid=(2, 2), support=support)}),
        Product(parts={"a": Vector(dim=1, support=support), "b": Vector(dim=1, support=support)}),
    ]


def _field_cases(config: FamilyConfig) -> list[Case]:
    """A field on the grid of the samples as condition, alone and beside a vector."""
    if not {"field", "real"} <= {*config.spaces, *config.supports}:
        return []
    periodic = (True, False)
    space = Field(channels=1, grid=(4, 2), periodic=periodic)
    phase = Field(channels=1, grid=(4, 2), periodic=periodic, support=Levels(count=3))
    return [(space, space), (space, Product(parts={"theta": Vector(dim=2), "phase": phase}))]


def _level_cases(config: FamilyConfig) -> list[Case]:
    """What is no dense row of one support: nodes and edges of a small graph, and tokens of variable length."""
    nodes, edges, labelled = Vector(dim=2, support=Levels(count=3)), Vector(dim=1, support=Binary()), CONDITIONS[-1]
    mixed = Product(parts={"nodes": nodes, "edges": edges})
    variable = Sequence(length=3, vocabulary=3, variable=True)
    return [
        (space, condition)
        for space in (mixed, variable)
        if "levels" in config.supports and space.kind in config.spaces
        for condition in (None, labelled)
    ]


def _sequence(length: int, support: Support) -> Sequence:
    if isinstance(support, Levels):
        return Sequence(length=length, vocabulary=support.count)
    return Sequence(length=length, channels=1, support=support)


def pairs(case: Case) -> set[tuple[str, str]]:
    """What a case covers: pairs of the sorts of space, support, condition and size.

    >>> sorted(pairs((Vector(dim=2), None)))
    [('plane', 'unconditional'), ('real', 'none'), ('real', 'two'), ('vector', 'none'), ('vector', 'real')]
    """
    sort, support, given = _factors(case)
    features = size(case[0])
    number = {1: "one", 2: "two", 10: "ten"}.get(features, "few" if features < 10 else "many")
    plane = {("plane", "unconditional" if case[1] is None else "conditional")} if features == 2 else set()
    return {(sort, support), (sort, given), (support, given), (support, number)} | plane


def _factors(case: Case) -> tuple[str, str, str]:
    """The sorts of space, support and condition."""
    space, condition = case
    named = [part for _, part in parts(space)]
    sort = "variable" if isinstance(space, Sequence) and space.variable else space.kind
    sort = "mixed" if any(support_of(part) != support_of(named[0]) for part in named) else sort
    return sort, support_of(named[0]).kind, "none" if condition is None else condition.kind


def _cover(config: FamilyConfig, candidates: list[Case]) -> list[Case]:
    """A few of the candidates that together have all pairs that any of them has, chosen one after another.

    At each turn it is the one whose pairs, of those still missing, are the rarest.
    """
    chosen: list[Case] = []
    count = Counter(pair for case in candidates for pair in pairs(case))
    missing = set(count)

    def gain(case: Case) -> float:
        return sum(1 / count[pair] for pair in sorted(pairs(case) & missing))

    while candidates and missing:
        best = max(candidates, key=gain)  # the first of equals
        candidates = [case for case in candidates if case is not best]
        if gain(best) and _builds(config, best):
            chosen.append(best)
            missing -= pairs(best)
    return chosen


def _builds(config: FamilyConfig, case: Case) -> bool:
    """Whether the family takes this space; some need more than one feature."""
    try:
        config.build(*case)
    except ConfigError:
        return False
    return True


def describe(case: Case) -> str:
    """A short name of a case: its space, its support, the number of features and its condition.

    >>> describe((Vector(dim=2, support=Binary()), Vector(dim=1)))
    'vector-binary-2-vector'
    """
    sort, support, given = _factors(case)
    return f"{sort}-{support}-{size(case[0])}-{given}"


def largest(config: FamilyConfig) -> Case:
    """Of the cases of a family the one with the largest condition, and of these the largest sample.

    >>> from maquette.core.families.flows.coupling import CouplingConfig
    >>> describe(largest(CouplingConfig()))
    'field-real-6-product'
    """
    return max(cases(config), key=lambda case: (_condition_size(case), size(case[0])))


def smallest(config: FamilyConfig) -> Case:
    """Of the cases of a family that have a condition the one with the smallest sample.

    >>> from maquette.core.families.flows.coupling import CouplingConfig
    >>> describe(smallest(CouplingConfig()))
    'product-real-2-product'
    """
    return min(cases(config), key=lambda case: (case[1] is None, size(case[0])))


def _condition_size(case: Case) -> int:
    return 0 if case[1] is None else size(case[1])
