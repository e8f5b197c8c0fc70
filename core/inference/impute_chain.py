"""Imputation with flows: a Markov chain whose unknown numbers follow their law given the known ones.

Projected latent Monte Carlo (Cannella, Soloveychik & Tarokh, arXiv:2007.06140): the chain moves in the space of codes,
where steps of one size suit all numbers, and keeps of the decoded sample what is unknown. In its place the known part k
has a stand-in y with a normal law q about k. A step draws y anew (the paper moves it along), encodes (u, y) as z,
perturbs that to z' = sqrt(1 - s^2) z + s e, with e from the law of codes, which is reversible for a centred normal, and
accepts the decoded (u', y') against the target p(u, k) q(y) by Metropolis and Hastings: with p the density of the flow,

    ratio = p(u', k) q(y') p(u, y) / (p(u, k) q(y) p(u', y')).

Limits: chains mix slowly where there are many known numbers or they pin down the unknown ones, and may miss modes that
no short way leads to. `effective` and `acceptance` show the former; nothing shows the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import SpaceError
from ..noise import Noise, require_batch_size
from ..spaces import Real, Tree
from .impute import known_numbers

_ACCEPTED, _GAIN = 0.25, 0.1  # share of steps to be taken, and how fast the size of steps follows it


@dataclass(frozen=True)
class ChainImputation:
    """Samples with their unknown numbers drawn, one chain each.

    Attributes:
        value: the last state of each chain, (B, ...); known numbers as they were given.
        mean: of each number over the second half of the chain, rows (B, D).
        effective: independent states that this half is worth, by batch means, the least over the unknown numbers, (B,).
        acceptance: share of steps that were taken in that half, (B,).
    """

    value: Tree
    mean: Tensor
    effective: Tensor
    acceptance: Tensor


@torch.no_grad()
def impute_by_chain(
    flow: Any,
    x: Tree,
    known: Tree,
    condition: Tree | None = None,
    *,
    noise: Noise,
    steps: int = 1000,
    width: float = 1.0,
) -> ChainImputation:
    """Draw what is not known of samples of real numbers, given what is.

    A step costs an encoding, a decoding and three densities.

    Args:
        flow: a model that samples, encodes and decodes and knows its density; its codes follow its `base`, a centred
            normal law, or the standard normal one if it has none.
        x: samples, leading axis B; what stands at unknown places is not read.
        known: true where x is known; as x, or with a leading axis of one for all samples alike.
        condition: one row per sample.
        noise: of B rows; step t reads the normal "around" (D,), the uniform "choice" and, folded under "move", what
            codes are drawn from; all folded under "step/t". The start is a sample, folded under "start".
        steps: of each chain, at least 8. The first half tunes the size of steps, and is left out of all figures.
        width: standard deviation of q, in the unit of the numbers: about the spread of the known ones given the others.

    Raises:
        SpaceError: samples, known places or noise of the wrong shape; a model of numbers that are not real.
    """
    if steps < 8:
        raise ValueError(f"expected at least 8 steps, found {steps}.")
    layout = flow.layout
    if not isinstance(layout.support, Real):
        raise SpaceError(f"model: a chain through codes needs real numbers, found {layout.support.kind} ones.")
    given, places = known_numbers(layout, x, known)
    n = len(given)
    require_batch_size(noise, n)

    def density(rows: Tensor) -> Tensor:
        return flow.log_prob(layout.unflatten(rows), condition)

    def around(rows: Tensor) -> Tensor:
        """log q of the known places of rows (B, D), up to a constant, (B,)."""
        return -0.5 * ((rows - given) / width).square().where(places, 0.0).sum(1)

    rows = given.where(places, layout.flatten(flow.sample(n, condition, noise=noise.fold("start"))))
    size = torch.ones_like(rows[:, :1])
    here, record = density(rows), _Record(rows, steps - steps // 2)
    for t in range(steps):
        keyed = noise.fold(f"step/{t}")
        free = (given + width * keyed.normal("around", (layout.features,))).where(places, rows)
        z = (1 - size.square()).sqrt() * flow.encode(layout.unflatten(free), condition)
        moved = layout.flatten(flow.decode(z + size * _codes(flow, n, keyed.fold("move")), condition))
        proposed = given.where(places, moved)
        there = density(proposed)
        ratio = there + around(moved) + density(free) - here - around(free) - density(moved)
        accept = keyed.uniform("choice").log() < ratio  # false for what is not a number
        rows, here = torch.where(accept[:, None], proposed, rows), torch.where(accept, there, here)
        if t >= steps // 2:
            record.add(rows, accept)
        else:  # one that goes on being tuned would no longer be a Markov chain
            size = (size * torch.exp(_GAIN * (accept[:, None].to(size) - _ACCEPTED))).clamp(max=1.0)
    mean, effective = record.summary(places)
    return ChainImputation(
        layout.unflatten(rows), given.where(places, mean), effective, record.accepted / record.length
    )


def _codes(flow: Any, n: int, noise: Noise) -> Tensor:
    return flow.base.sample(n, noise) if hasattr(flow, "base") else flow.layout.prior(n, noise)


class _Record:
    """Running sums over states (B, D) of chains, whole and in batches of length^(2/3), to outlast their memory."""

    def __init__(self, like: Tensor, length: int) -> None:
        self.length, self.batch = length, max(2, round(length ** (2 / 3)))
        self.count = 0
        self.center = like  # sums are of differences from the start, against cancellation
        self.squares, self.accepted = torch.zeros_like(like), torch.zeros_like(like[:, 0])
        self.sums: list[Tensor] = []

    def add(self, rows: Tensor, accept: Tensor) -> None:
        if self.count % self.batch == 0:
            self.sums.append(torch.zeros_like(rows))
        away = rows - self.center
        self.sums[-1] += away
        self.squares += away.square()
        self.accepted += accept
        self.count += 1

    def summary(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, D), and the least effective number of states over what is not known (B,)."""
        total = torch.stack(self.sums).sum(0) / self.count
        variance = self.squares / self.count - total.square()
        whole = torch.stack([each for i, each in enumerate(self.sums) if (i + 1) * self.batch <= self.count])
        between = (whole / self.batch).var(0)
        states = (self.count * variance / (self.batch * between)).nan_to_num(0.0).clamp(1.0, self.count)
        return self.center + total, states.masked_fill(known, float(self.count)).amin(1)
