"""Which spaces can become features of a network, and the sentence that refuses the others."""

from __future__ import annotations

from .config import kind_of
from .errors import ConfigError
from .spaces import Binary, Complex, Graph, Interval, Levels, Real, Sequence, Simple, Support, Torus, support_of

CONDITIONS = (Real, Interval, Torus, Binary, Levels)
"""Supports that a condition may have."""


def require_features(
    what: str, name: str, part: Simple, supports: tuple[type[Support], ...], *, variable: bool = False
) -> None:
    """Raise `ConfigError` unless a part of a space is dense and of one of some supports.

    Args:
        what: "samples" or "conditions".
        name: of the part; "" for the only one.
        part: the space of the part.
        supports: those that the model takes.
        variable: whether it takes tokens of variable length.

    >>> from maquette.core.spaces import Vector
    >>> require_features("samples", "k-space", Vector(dim=2, support=Complex()), (Real,))
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: samples "k-space": this model takes real features, found complex ones; a codec ...
    """
    where = f'{what} "{name}"' if name else what
    if isinstance(part, Graph):
        raise ConfigError(
            f"{where}: this model takes a vector, field or sequence, found a graph; a codec turns graphs into tokens "
            "of a sequence, or into a product of a vector of nodes and one of edges."
        )
    support = support_of(part)
    if isinstance(support, Complex):
        raise ConfigError(
            f"{where}: this model takes real features, found complex ones; a codec turns each into two real channels."
        )
    ragged = isinstance(part, Sequence) and part.variable
    tokens = isinstance(part, Sequence) and part.vocabulary is not None
    taken = not ragged or (variable and tokens)
    if taken and isinstance(support, supports):
        return
    kinds = " or ".join(kind_of(support) for support in supports)
    length = "variable length and " if ragged else ""
    advice = "take the transformer for tokens" if ragged else "choose another family"
    raise ConfigError(
        f"{where}: this model takes a vector, field or sequence of {kinds} support, found a {part.kind} of "
        f"{length}{support.kind} support; {advice} or encode them first."
    )
