"""Imputation with flows: a Markov chain over the unknown features given the known ones.

Projected latent Monte Carlo (Cannella, Soloveychik & Tarokh, arXiv:2007.06140). The chain moves in the space of codes,
where one step size suits all dimensions. Its state is (u, y): the unknown features u, and an auxiliary copy y of the
known features k, with a normal distribution q around k. A step

1. draws y from q (in the paper y is part of the chain), and encodes (u, y) as z,
2. proposes z' = sqrt(1 - s^2) z + s e with e from the distribution of codes, which is reversible if that is a centred
   normal, and decodes z' to (u', y'),
3. accepts u' by Metropolis and Hastings with the target p(u, k) q(y), where p is the density of the flow: the ratio is

    p(u', k) q(y') p(u, y) / (p(u, k) q(y) p(u', y')).

Limits: chains mix slowly if there are many known features, or if these determine the unknown ones closely. `effective`
and `acceptance` show that. They may miss separate modes, which nothing shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import SpaceError
from ..noise import Noise, require_batch_size
from ..spaces import Real, Tree
from .impute import known_features

_TARGET_ACCEPTANCE, _GAIN = 0.25, 0.1  # fraction of proposals to accept, and how fast the step size adapts to it


@dataclass(frozen=True)
class ChainImputation:
    """Samples with their unknown features drawn, one chain each.

    Attributes:
        value: the last state of each chain, (B, ...); known features as they were given.
        mean: of each feature over the second half of the chain, flattened, (B, D).
        effective: effective sample size of this half by batch means, the smallest over the unknown features, (B,).
        acceptance: fraction of proposals accepted in this half, (B,).
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
    scale: float = 1.0,
) -> ChainImputation:
    """Draw the unknown features of real samples given the known ones.

    A step costs one encoding, one decoding and three densities.

    Args:
        flow: a model that samples, encodes, decodes and has a density. The distribution of its codes must be a centred
            normal: its `base`, or the standard normal if it has none.
        x: samples, leading axis B; unknown features are not read.
        known: true where x is known, bool, shaped like x, or with a leading axis of one for all samples.
        condition: one row per sample.
        noise: of batch size B; step t reads the normal "around" (D,), the uniform "choice" and, folded under "move",
            the draw of codes; all folded under "step/t". The start is a sample, folded under "start".
        steps: of each chain, at least 8. The first half adapts the step size, and is left out of all statistics.
        scale: standard deviation of q, in the unit of the samples. A good choice is about the standard deviation of a
            known feature given all others.

    Raises:
        SpaceError: samples, `known` or noise of the wrong shape; a model of features that are not real.

    >>> from maquette.core.families.flows.coupling import CouplingConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow, noise = CouplingConfig.example().build(Vector(dim=2)), KeyedNoise(0, torch.arange(3))
    >>> found = impute_by_chain(flow, torch.ones(3, 2), torch.tensor([[True, False]]), noise=noise, steps=20)
    >>> isinstance(found, ChainImputation), found.value[:, 0], found.effective.shape
    (True, tensor([1., 1., 1.]), torch.Size([3]))
    """
    if steps < 8:
        raise ValueError(f"expected at least 8 steps, found {steps}.")
    layout = flow.layout
    if not isinstance(layout.support, Real):
        raise SpaceError(f"model: a chain through codes needs real features, found {layout.support.kind} ones.")
    given, mask = known_features(layout, x, known)
    n = len(given)
    require_batch_size(noise, n)

    def log_p(flat: Tensor) -> Tensor:
        return flow.log_prob(layout.unflatten(flat), condition)

    def log_q(flat: Tensor) -> Tensor:
        """log q of the known features of flat samples (B, D), up to a constant, (B,)."""
        return -0.5 * ((flat - given) / scale).square().where(mask, 0.0).sum(1)

    state = given.where(mask, layout.flatten(flow.sample(n, condition, noise=noise.fold("start"))))
    size = torch.ones_like(state[:, :1])
    current, statistics = log_p(state), _ChainStatistics(state, steps - steps // 2)
    for t in range(steps):
        keyed = noise.fold(f"step/{t}")
        free = (given + scale * keyed.normal("around", (layout.features,))).where(mask, state)
        mean, draw = _draw_codes(flow, n, keyed.fold("move"), condition)
        away = (1 - size.square()).sqrt() * (flow.encode(layout.unflatten(free), condition) - mean)
        moved = layout.flatten(flow.decode(mean + away + size * (draw - mean), condition))
        proposed = given.where(mask, moved)
        target = log_p(proposed)
        ratio = target + log_q(moved) + log_p(free) - current - log_q(free) - log_p(moved)
        accept = keyed.uniform("choice").log() < ratio  # false where the ratio is NaN
        state, current = torch.where(accept[:, None], proposed, state), torch.where(accept, target, current)
        if t >= steps // 2:
            statistics.add(state, accept)
        else:  # adapt the step size in the first half only: while it adapts, the chain is not Markov
            size = (size * torch.exp(_GAIN * (accept[:, None].to(size) - _TARGET_ACCEPTANCE))).clamp(max=1.0)
    mean, effective = statistics.summary(mask)
    return ChainImputation(
        layout.unflatten(state), given.where(mask, mean), effective, statistics.accepted / statistics.length
    )


def _draw_codes(flow: Any, n: int, noise: Noise, condition: Tree | None) -> tuple[Tensor | float, Tensor]:
    """The mean of the codes, and a draw of them."""
    if not hasattr(flow, "base"):
        return 0.0, flow.layout.prior(n, noise)
    white = flow.base.white(n, noise)
    context = flow.layout.context(condition, white).vector
    return flow.base.mean(context), flow.base.color(white, context)


class _ChainStatistics:
    """Sums over the states (B, D) of chains, total and in batches of length^(2/3) (the method of batch means)."""

    def __init__(self, like: Tensor, length: int) -> None:
        self.length, self.batch = length, max(2, round(length ** (2 / 3)))
        self.count = 0
        self.center = like  # sums are of differences from the first state, against cancellation
        self.squares, self.accepted = torch.zeros_like(like), torch.zeros_like(like[:, 0])
        self.sums: list[Tensor] = []

    def add(self, state: Tensor, accept: Tensor) -> None:
        if self.count % self.batch == 0:
            self.sums.append(torch.zeros_like(state))
        difference = state - self.center
        self.sums[-1] += difference
        self.squares += difference.square()
        self.accepted += accept
        self.count += 1

    def summary(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, D), and the smallest effective sample size over the unknown features (B,)."""
        total = torch.stack(self.sums).sum(0) / self.count
        variance = self.squares / self.count - total.square()
        whole = torch.stack([each for i, each in enumerate(self.sums) if (i + 1) * self.batch <= self.count])
        between = (whole / self.batch).var(0)
        states = (self.count * variance / (self.batch * between)).nan_to_num(0.0).clamp(1.0, self.count)
        return self.center + total, states.masked_fill(known, float(self.count)).amin(1)
