"""Imputation with autoregressive models: draws the unknown features of a sample given the known ones.

Features are drawn in the model's order, and known ones are set. If all known features come before the unknown ones,
that is an exact draw. Otherwise an unknown feature is drawn without knowledge of the known ones after it; importance
weights correct for that. This is sequential Monte Carlo over K particles: they are weighted by the conditional density
of each known feature, and resampled when the weights become uneven (Gordon, Salmond & Smith, IEE Proc. F 140 (1993)
107; Doucet & Johansen, "A tutorial on particle filtering and smoothing", 2009, sections 3.5 and 4). It is exact in the
limit of large K; `effective` shows whether K is large enough.
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
from .stepwise import blank_samples, steps


@dataclass(frozen=True)
class Imputation:
    """Samples with their unknown features drawn.

    Attributes:
        value: one draw per sample, (B, ...); known features as they were given.
        particles: all K draws of each sample, flattened, (B, K, D).
        weights: of the particles, (B, K); each row sums to one.
        log_evidence: log of an unbiased estimate of p(known features | condition), (B,), nats.
        effective: effective sample size of the particles, (sum w)^2 / sum w^2, the smallest over all steps, (B,).
        exact: whether `value` is an exact draw, (B,), bool: no known feature comes after an unknown one in the order.
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
    """Draw the unknown features of samples given the known ones.

    It costs D steps of the model with a batch of B x K, and i + 1 more whenever a sample is resampled after feature i.

    Args:
        model: one with conditionals; of an ensemble of orders, one member.
        x: samples, leading axis B; unknown features are not read.
        known: true where x is known, bool, shaped like x, or with a leading axis of one for all samples.
        condition: one row per sample.
        noise: of batch size B; particle k reads the uniform "numbers" (D, U) folded under "particle/k", and
            resampling the uniform "resampling" (D + 1,).
        particles: K, at least 1; one is enough where known features come first.

    Raises:
        SpaceError: samples, `known` or noise of the wrong shape; known features of probability zero under the model.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = FVSBNConfig().build(Vector(dim=4, support=Binary()))
    >>> known = torch.tensor([[True, True, False, False]])
    >>> found = impute(model, torch.ones(3, 4), known, noise=KeyedNoise(0, torch.arange(3)), particles=8)
    >>> isinstance(found, Imputation), found.value[:, :2].tolist(), found.exact.tolist()
    (True, [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], [True, True, True])
    """
    if particles < 1:
        raise ValueError(f"expected at least one particle per sample, found {particles}.")
    order, likelihood, k = model.order, model.likelihood, particles
    given, known = known_features(model.layout, x, known)
    n, features = given.shape
    require_batch_size(noise, n)
    # from here on features are in the order in which they are drawn
    given, known = given[:, order], known[:, order]
    choices = noise.uniform("resampling", (features + 1,))
    uniforms = _uniforms(noise, features, likelihood, k)[:, order]
    drawing = _Particles(model, condition, k, given.to(blank_samples(model, 0)), known, uniforms)

    weights = choices.new_zeros(n, k)
    evidence, least = choices.new_zeros(n), choices.new_full((n,), float(k))
    for i in range(features):
        weights = weights + drawing.draw(i).reshape(n, k)
        if not weights.isfinite().any(1).all():
            sample = int((~weights.isfinite().any(1)).nonzero()[0])
            raise SpaceError(f"x: the known features of sample {sample} have probability zero under the model.")
        effective = _effective(weights)
        least = torch.minimum(least, effective)
        resample = (effective < k / 2) & (~known[:, i + 1 :]).any(1)
        if resample.any():
            evidence = torch.where(resample, evidence + weights.logsumexp(1), evidence)
            drawing.select(i, torch.where(resample[:, None], _systematic(weights, choices[:, i]), _all(weights)))
            weights = weights.masked_fill(resample[:, None], 0.0)
            evidence = torch.where(resample, evidence - torch.log(evidence.new_tensor(k)), evidence)

    found = drawing.sequence[:, order.argsort()].unflatten(0, (n, k))
    chosen = _inverse(weights.softmax(1), choices[:, -1:])
    value = torch.take_along_dim(found, chosen[..., None], 1)[:, 0]
    total = evidence + weights.logsumexp(1) - torch.log(evidence.new_tensor(k))
    exact = ~(known & ((~known).cumsum(1) > 0)).any(1)
    return Imputation(model.layout.unflatten(value), found, weights.softmax(1), total, least, exact)


def known_features(layout: Layout, x: Tree, known: Tree) -> tuple[Tensor, Tensor]:
    """Flat samples with zeros for unknown features (B, D), and which features are known (B, D), bool.

    Raises:
        SpaceError: `known` is not boolean, or has neither one row nor B; known features that are not finite.

    >>> from maquette.core.spaces import Vector
    >>> x, known = torch.tensor([[1.0, 2.0], [3.0, float("nan")]]), torch.tensor([[True, False]])
    >>> known_features(Layout(Vector(dim=2)), x, known)
    (tensor([[1., 0.],
            [3., 0.]]), tensor([[ True, False],
            [ True, False]]))
    """
    flat, mask = layout.flatten(x), layout.flatten(known)
    if mask.dtype != torch.bool or len(mask) not in (1, len(flat)):
        found = f"{len(mask)} of {str(mask.dtype).removeprefix('torch.')}"
        raise SpaceError(f"known: expected one row of booleans, or {len(flat)} as there are samples, found {found}.")
    mask = mask.expand(len(flat), -1)
    flat = torch.where(mask, flat, torch.zeros_like(flat))
    if not bool(flat.isfinite().all()):
        raise SpaceError("x: expected finite values where they are known, found others.")
    return flat, mask


class _Particles:
    """K copies of each sample, (B K, D), drawn feature by feature; resampling replaces one by another."""

    def __init__(
        self, model: Conditionals, condition: Tree | None, copies: int, given: Tensor, known: Tensor, uniforms: Tensor
    ) -> None:
        def copied(x: Tensor) -> Tensor:
            return x.repeat_interleave(copies, 0)

        self.model, self.uniforms = model, uniforms
        self.likelihood: Likelihood = model.likelihood
        self.given, self.known = copied(given), copied(known)
        self.condition = map_tree(copied, condition)
        self.sequence = torch.zeros_like(self.given)
        self.step: Step = steps(model, len(uniforms), self.condition)

    def _parameters(self, i: int) -> Tensor:
        return self.step(self.sequence[:, i - 1] if i else None)

    def draw(self, i: int) -> Tensor:
        """Draw feature i, or set it where it is known; returns the log-density (B K,) where it was set, else zero."""
        parameters, known = self._parameters(i), self.known[:, i]
        drawn = self.likelihood.draw(parameters, self.uniforms[:, i])
        self.sequence[:, i] = torch.where(known, self.given[:, i], drawn.to(self.given))
        score = self.likelihood.log_prob(parameters, self.sequence[:, i])
        return torch.where(known, score, 0.0)

    def select(self, i: int, ancestors: Tensor) -> None:
        """Continue after feature i from the sequences of `ancestors` (B, K), particle indices within each sample.

        The model's cache cannot be copied between particles, so its steps are computed again.
        """
        n, copies = ancestors.shape
        flat = (ancestors + copies * torch.arange(n, device=ancestors.device)[:, None]).flatten()
        self.sequence[:, : i + 1] = self.sequence[flat, : i + 1]
        self.step = steps(self.model, len(flat), self.condition)
        for j in range(i + 1):
            self._parameters(j)


def _uniforms(noise: Noise, features: int, likelihood: Likelihood, particles: int) -> Tensor:
    """Uniform draws of all particles, (B K, D, U)."""
    drawn = [noise.fold(f"particle/{k}").uniform("numbers", (features, likelihood.uniforms)) for k in range(particles)]
    return torch.stack(drawn, dim=1).flatten(0, 1)


def _effective(log_weights: Tensor) -> Tensor:
    """Effective sample size (B,) of log-weights (B, K)."""
    return torch.exp(2 * log_weights.logsumexp(1) - (2 * log_weights).logsumexp(1))


def _inverse(weights: Tensor, u: Tensor) -> Tensor:
    """Particle indices (B, M), int64, by inversion of the weights' (B, K) distribution at uniform draws u (B, M)."""
    return torch.searchsorted(weights.cumsum(1), u.contiguous()).clamp(max=weights.shape[1] - 1)


def _systematic(log_weights: Tensor, u: Tensor) -> Tensor:
    """Ancestors (B, K) by systematic resampling, with one uniform draw u (B,) per sample."""
    k = log_weights.shape[1]
    return _inverse(log_weights.softmax(1), (torch.arange(k, device=u.device) + u[:, None]) / k)


def _all(log_weights: Tensor) -> Tensor:
    """Every particle as its own ancestor, (B, K)."""
    return torch.arange(log_weights.shape[1], device=log_weights.device).expand_as(log_weights)
