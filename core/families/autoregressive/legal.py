"""Levels that features can take, where these differ between the parts of a sample or a sequence comes to an end.

All features share one categorical distribution, of as many levels as the part with the most has. What a feature cannot
be gets the probability zero, and after the end of a sequence only the end is left. So the probabilities of all samples
sum to one, and what lies beyond the end adds nothing to a log-probability or a loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...layout import Layout, parts
from ...likelihoods import SUPPORTS, Likelihood, LikelihoodConfig, Restrictable, likelihood_of
from ...spaces import Binary, Levels, Sequence, Simple, Space, Tree, size, support_of


class LegalLevels(nn.Module):
    """The levels that each feature can take, as a constraint (`core/constraint.py`) and for whole samples at once.

    Args:
        possible: whether a feature can take a level, (D, levels), bool, features in the order of drawing.
        end: the level after which only itself is left; None if there is none.

    >>> legal = LegalLevels(torch.tensor([[True, True, True], [True, True, False]]), end=None)
    >>> state = legal.advance(legal.start(1), torch.tensor([2]))
    >>> legal.allowed(state).tolist()
    [[True, True, False]]
    """

    possible: Tensor

    def __init__(self, possible: Tensor, end: int | None) -> None:
        super().__init__()
        self.register_buffer("possible", possible, persistent=False)
        self.end = end

    def start(self, n: int, condition: Tree | None = None, *, device: torch.device | None = None) -> Tree:
        """Positions, and which samples have ended."""
        position = torch.zeros(n, dtype=torch.int64, device=device)
        return {"position": position, "ended": torch.zeros_like(position, dtype=torch.bool)}

    def allowed(self, state: Tree) -> Tensor:
        assert isinstance(state, dict)
        position = state["position"].clamp(max=len(self.possible) - 1)  # after the last feature none is asked for
        return self._or_end(self.possible[position], state["ended"])

    def advance(self, state: Tree, level: Tensor) -> Tree:
        assert isinstance(state, dict)
        ended = state["ended"] if self.end is None else state["ended"] | (level == self.end)
        return {"position": state["position"] + 1, "ended": ended}

    def along(self, sequence: Tensor) -> Tensor:
        """The levels allowed for each feature of whole sequences (B, D), ((B,) D, levels).

        >>> ending = LegalLevels(torch.ones(3, 2, dtype=torch.bool), end=1)
        >>> ending.along(torch.tensor([[0, 1, 1]])).tolist()
        [[[True, True], [True, True], [False, True]]]
        """
        if self.end is None:
            return self.possible
        ends = (sequence == self.end).cumsum(1)
        return self._or_end(self.possible, torch.cat((torch.zeros_like(ends[:, :1]), ends[:, :-1]), dim=1) > 0)

    def _or_end(self, possible: Tensor, ended: Tensor) -> Tensor:
        if self.end is None:
            return possible
        only = torch.arange(self.possible.shape[1], device=ended.device) == self.end
        return torch.where(ended.unsqueeze(-1), only, possible)


def drawn_features(legal: LegalLevels | None, flat: Tensor, like: Tensor) -> Tensor | None:
    """How many features of samples (B, D) were a choice, those up to the end, (B,) in the dtype of `like`.

    None where all of them were.

    >>> ending = LegalLevels(torch.ones(3, 2, dtype=torch.bool), end=1)
    >>> drawn_features(ending, torch.tensor([[0, 1, 1], [0, 0, 1], [0, 0, 0]]), torch.zeros(1))
    tensor([2., 3., 3.])
    """
    if legal is None or legal.end is None:
        return None
    within = (flat != legal.end).sum(1)
    return (within + 1).clamp(max=flat.shape[1]).to(like.dtype)


def features_of(
    space: Space, condition: Space | None, config: LikelihoodConfig | None, *, variable: bool = True
) -> tuple[Layout, Likelihood]:
    """The layout of samples, and the likelihood of their features: that of a config, or the default one.

    Args:
        space: parts of one support, or of several with levels or binary values; or tokens of variable length.
        condition: as in `Layout`.
        config: of the likelihood; None for the default one.
        variable: whether features are drawn in the order of a sequence, as its end asks for.

    Raises:
        ConfigError: supports that have no likelihood in common, or samples that cannot be laid out.

    >>> from maquette.core.spaces import Product, Vector
    >>> atoms, bonds = Vector(dim=2, support=Levels(count=10)), Vector(dim=1, support=Levels(count=4))
    >>> layout, likelihood = features_of(Product(parts={"atoms": atoms, "bonds": bonds}), None, None)
    >>> likelihood, legal_levels(layout).possible.sum(1).tolist()
    (Categorical(count=10), [10, 10, 4])
    """
    layout = Layout(space, condition, SUPPORTS, variable=variable)
    if (counts := _counts(space)) is None:
        return layout, likelihood_of(layout.support, config)
    likelihood = likelihood_of(Levels(count=max(counts)), config)
    if not isinstance(likelihood, Restrictable):
        raise ConfigError(
            "likelihood: parts of different levels and sequences of variable length need a categorical one, found "
            f"{type(likelihood).__name__}; leave it out."
        )
    return layout, likelihood


def legal_levels(layout: Layout, order: Tensor | None = None) -> LegalLevels | None:
    """What features can be, in the order (D,) of drawing; None where all can be all that their support has.

    >>> from maquette.core.spaces import Sequence, Vector
    >>> legal_levels(Layout(Vector(dim=2))) is None
    True
    >>> words = Layout(Sequence(length=3, vocabulary=5, variable=True), supports=(Levels,), variable=True)
    >>> legal_levels(words).end
    5
    """
    if (counts := _counts(layout.space)) is None:
        return None
    number = torch.tensor(counts)
    possible = torch.arange(max(counts)) < (number if order is None else number[order.cpu()])[:, None]
    return LegalLevels(possible.to(number.device if order is None else order.device), layout.end)


def _counts(space: Space) -> list[int] | None:
    """Levels of each feature, (D,), the end among them; None where one support says it all, or some have no levels."""
    named = [part for _, part in parts(space)]
    ends = any(isinstance(part, Sequence) and part.variable for part in named)
    if not ends and all(support_of(part) == support_of(named[0]) for part in named):
        return None
    counts = [_levels(part) for part in named]
    if None in counts:
        return None
    return [count for part, count in zip(named, counts, strict=True) if count for _ in range(size(part))]


def _levels(part: Simple) -> int | None:
    match support_of(part):
        case Levels(count=count):
            return count + (isinstance(part, Sequence) and part.variable)
        case Binary():
            return 2
        case _:
            return None
