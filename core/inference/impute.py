"""Imputation with autoregressive models: the numbers of a sample that are not known, given those that are.

Numbers are drawn in the model's order, the known ones set. Where all known numbers come before the unknown ones, that
is an exact draw. Otherwise a number was drawn blind to known ones that follow it, which weights must make good: a
sequential Monte Carlo over K particles, weighted by the law of each known number and resampled when the weights grow
uneven (Gordon, Salmond & Smith, IEE Proc. F 140 (1993) 107; Doucet & Johansen, "A tutorial on particle filtering and
smoothing", 2009, sections 3.5 and 4). It is exact as K grows; `effective` says how far that is to be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..capabilities import Conditionals
from ..data import map_tree
from ..errors import SpaceError
from ..layout import Layout
from ..likelihoods import Likelihood
from ..noise import Noise, require_batch_size
from ..samplers.ancestral import Step
from ..spaces import Tree
from .stepwise import blank, steps


@dataclass(frozen=True)
class Imputation:
    """Samples with their unknown numbers drawn.

    Attributes:
        value: one draw per sample, (B, ...); known numbers as they were given.
        particles: all K draws of each sample, rows (B, K, D).
        weights: of the particles, (B, K); they sum to one.
        log_evidence: log of an unbiased estimate of p(known numbers | condition), (B,), nats.
        effective: least effective number of particles on the way, (sum w)^2 / sum w^2, (B,).
        exact: whether `value` is an exact draw, (B,), bool: no known number comes after an unknown one in the order.
    """

    value: Tree
    particles: Tensor
    weights: Tensor
    log_evidence: Tensor
    effective: Tensor
    exact: Tensor


@torch.no_grad()
def impute(
    model: Conditionals, x: Tree, known: Tree, condition: Tree | None = None, *, noise: Noise, particles: int = 64
) -> Imputation:
    """Draw what is not known of samples, given what is.

    It costs D steps of the model with B times K rows, and i more whenever some sample is resampled after number i.

    Args:
        model: of numbers of any law; for a mixture of several orders, one of its members.
        x: samples, leading axis B; what stands at unknown places is not read.
        known: true where x is known; as x, or with a leading axis of one for all samples alike.
        condition: one row per sample.
        noise: of B rows; particle k reads the uniform "numbers" (D, U) folded under "particle/k", and the choice among
            particles the uniform "resampling" (D + 1,).
        particles: K, at least 1; one is enough where known numbers come first.

    Raises:
        SpaceError: samples, known places or noise of the wrong shape; known numbers that the model deems impossible.
    """
    if particles < 1:
        raise ValueError(f"expected at least one particle per sample, found {particles}.")
    order, law, k = model.order, model.likelihood, particles
    given, known = known_numbers(model.layout, x, known)
    n, numbers = given.shape
    require_batch_size(noise, n)
    # everything from here on in the order of drawing
    given, known = given[:, order], known[:, order]
    lots = noise.uniform("resampling", (numbers + 1,))
    uniforms = _uniforms(noise, numbers, law, k)[:, order]
    walk = _Walk(model, condition, k, given.to(blank(model, 0)), known, uniforms)

    weights = lots.new_zeros(n, k)
    evidence, least = lots.new_zeros(n), lots.new_full((n,), float(k))
    for i in range(numbers):
        weights = weights + walk.draw(i).reshape(n, k)
        if not weights.isfinite().any(1).all():
            row = int((~weights.isfinite().any(1)).nonzero()[0])
            raise SpaceError(f"x: the known numbers of sample {row} are impossible under the model.")
        effective = _effective(weights)
        least = torch.minimum(least, effective)
        poor = (effective < k / 2) & (~known[:, i + 1 :]).any(1)
        if poor.any():
            evidence = torch.where(poor, evidence + weights.logsumexp(1), evidence)
            walk.select(i, torch.where(poor[:, None], _systematic(weights, lots[:, i]), _all(weights)))
            weights = weights.masked_fill(poor[:, None], 0.0)
            evidence = torch.where(poor, evidence - torch.log(evidence.new_tensor(k)), evidence)

    place = order.argsort()
    found = walk.sequence[:, place].unflatten(0, (n, k))
    chosen = _inverse(weights.softmax(1), lots[:, -1:])
    value = torch.take_along_dim(found, chosen[..., None], 1)[:, 0]
    total = evidence + weights.logsumexp(1) - torch.log(evidence.new_tensor(k))
    exact = ~(known & ((~known).cumsum(1) > 0)).any(1)
    return Imputation(model.layout.unflatten(value), found, weights.softmax(1), total, least, exact)


def known_numbers(layout: Layout, x: Tree, known: Tree) -> tuple[Tensor, Tensor]:
    """Rows of samples with zeros at unknown places (B, D), and which places are known (B, D), bool.

    Raises:
        SpaceError: places that are not booleans for all samples alike or for each; known numbers that are not finite.
    """
    rows, places = layout.flatten(x), layout.flatten(known)
    if places.dtype != torch.bool or len(places) not in (1, len(rows)):
        found = f"{len(places)} of {str(places.dtype).removeprefix('torch.')}"
        raise SpaceError(f"known: expected one row of booleans, or {len(rows)} as there are samples, found {found}.")
    places = places.expand(len(rows), -1)
    rows = torch.where(places, rows, torch.zeros_like(rows))
    if not bool(rows.isfinite().all()):
        raise SpaceError("x: expected finite numbers where they are known, found others.")
    return rows, places


class _Walk:
    """Sequences (R, D) that are drawn number by number; the past of one can be replaced by that of another."""

    def __init__(
        self, model: Conditionals, condition: Tree | None, copies: int, given: Tensor, known: Tensor, uniforms: Tensor
    ) -> None:
        def copied(rows: Tensor) -> Tensor:
            return rows.repeat_interleave(copies, 0)

        self.model, self.uniforms = model, uniforms
        self.law: Likelihood = model.likelihood
        self.given, self.known = copied(given), copied(known)
        self.condition = None if condition is None else map_tree(copied, condition)
        self.sequence = torch.zeros_like(self.given)
        self.step: Step = steps(model, len(uniforms), self.condition)

    def _parameters(self, i: int) -> Tensor:
        return self.step(self.sequence[:, i - 1] if i else None)

    def draw(self, i: int) -> Tensor:
        """Draw number i, or set it where it is known; log-density (R,) of what was set, zero of what was drawn."""
        parameters, known = self._parameters(i), self.known[:, i]
        drawn = self.law.draw(parameters, self.uniforms[:, i])
        self.sequence[:, i] = torch.where(known, self.given[:, i], drawn.to(self.given))
        score = self.law.log_prob(parameters, self.sequence[:, i])
        return torch.where(known, score, 0.0)

    def select(self, i: int, ancestors: Tensor) -> None:
        """Continue after number i from the sequences of others, each sample's (B, K) numbered from zero.

        What the model remembers of the past cannot be handed on; it walks the way again.
        """
        n, copies = ancestors.shape
        flat = (ancestors + copies * torch.arange(n, device=ancestors.device)[:, None]).flatten()
        self.sequence[:, : i + 1] = self.sequence[flat, : i + 1]
        self.step = steps(self.model, len(flat), self.condition)
        for j in range(i + 1):
            self._parameters(j)


def _uniforms(noise: Noise, numbers: int, law: Likelihood, particles: int) -> Tensor:
    """(B K, D, U)."""
    drawn = [noise.fold(f"particle/{k}").uniform("numbers", (numbers, law.uniforms)) for k in range(particles)]
    return torch.stack(drawn, dim=1).flatten(0, 1)


def _effective(log_weights: Tensor) -> Tensor:
    return torch.exp(2 * log_weights.logsumexp(1) - (2 * log_weights).logsumexp(1))


def _inverse(weights: Tensor, u: Tensor) -> Tensor:
    """Which particle's share of (0, 1) each of u (B, M) falls into, int64 (B, M)."""
    return torch.searchsorted(weights.cumsum(1), u.contiguous()).clamp(max=weights.shape[1] - 1)


def _systematic(log_weights: Tensor, u: Tensor) -> Tensor:
    """Ancestors (B, K) by evenly spaced points with one uniform number (B,) a sample."""
    k = log_weights.shape[1]
    return _inverse(log_weights.softmax(1), (torch.arange(k, device=u.device) + u[:, None]) / k)


def _all(log_weights: Tensor) -> Tensor:
    return torch.arange(log_weights.shape[1], device=log_weights.device).expand_as(log_weights)
