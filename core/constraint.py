"""Constraints with a state: which levels may come next while a sample is drawn feature by feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .spaces import Tree


@runtime_checkable
class Constraint(Protocol):
    """Says which levels may come next, given those drawn so far (valences, grammars, a known beginning).

    Its methods are pure and work on batches. A state is a tensor, or named ones, with B rows. Levels come in the order
    in which a model draws them. The last level of a sequence of variable length is its end.

    No two coins show heads in a row:

    >>> class Single:
    ...     def start(self, n, condition=None, *, device=None):
    ...         return torch.zeros(n, dtype=torch.bool, device=device)  # whether the last coin shows heads
    ...     def allowed(self, state):
    ...         return torch.stack((torch.ones_like(state), ~state), dim=1)
    ...     def advance(self, state, level):
    ...         return level == 1
    >>> isinstance(Single(), Constraint)
    True
    """

    def start(self, n: int, condition: Tree | None = None, *, device: torch.device | None = None) -> Tree:
        """Return the states of n samples before their first feature; `condition` is the model's, one row per sample."""
        ...

    def allowed(self, state: Tree) -> Tensor:
        """Return which levels may come next, (B, levels), bool; at least one for each state that can be reached."""
        ...

    def advance(self, state: Tree, level: Tensor) -> Tree:
        """Return the states after one more level each (B,), int64, which the states allow."""
        ...


@dataclass(frozen=True)
class Path:
    """Where samples stand under a constraint. Those that have ended, or left what is allowed, no longer move.

    Attributes:
        constraint: the rules.
        state: its states.
        going: which samples it still rules, (B,), bool.
        end: the level that ends a sample; None if there is none.

    >>> class Once:  # each level at most once
    ...     def start(self, n, condition=None, *, device=None):
    ...         return torch.zeros(n, 3, dtype=torch.bool, device=device)
    ...     def allowed(self, state):
    ...         return ~state
    ...     def advance(self, state, level):
    ...         return state | (torch.arange(3) == level[:, None])
    >>> path = Path.begin(Once(), 2).advance(torch.tensor([0, 2]))
    >>> path.allowed().tolist()
    [[False, True, True], [True, True, False]]
    >>> path.advance(torch.tensor([0, 1])).going.tolist()
    [False, True]
    """

    constraint: Constraint
    state: Tree
    going: Tensor
    end: int | None = None

    @classmethod
    def begin(
        cls,
        constraint: Constraint,
        n: int,
        condition: Tree | None = None,
        *,
        end: int | None = None,
        device: torch.device | None = None,
    ) -> Path:
        """The paths of n samples before their first feature."""
        going = torch.ones(n, dtype=torch.bool, device=device)
        return cls(constraint, constraint.start(n, condition, device=device), going, end)

    def allowed(self) -> Tensor:
        """Which levels may come next, (B, levels); all for samples that the constraint no longer rules."""
        return self.constraint.allowed(self.state) | ~self.going[:, None]

    def advance(self, level: Tensor) -> Path:
        """The paths after one more level each, (B,)."""
        level, allowed = level.long(), self.allowed()
        going = self.going & allowed.gather(1, level[:, None])[:, 0]
        if self.end is not None:
            going = going & (level != self.end)
        possible = torch.where(going, level, allowed.int().argmax(1))  # what the others would do is dropped below
        before, after = _named(self.state), _named(self.constraint.advance(self.state, possible))
        state = {name: torch.where(_like(going, after[name]), after[name], value) for name, value in before.items()}
        return replace(self, state=state[""] if isinstance(self.state, Tensor) else state, going=going)


def _named(state: Tree) -> dict[str, Tensor]:
    return {"": state} if isinstance(state, Tensor) else state


def _like(going: Tensor, value: Tensor) -> Tensor:
    return going.reshape(-1, *(1,) * (value.ndim - 1))
