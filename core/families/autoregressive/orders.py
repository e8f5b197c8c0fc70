"""Ensembles over orders: a uniform mixture of autoregressive models that share one network.

The chain rule holds in any order of the features, and the conditionals differ between orders: the mixture over several
orders predicts better than its members (Uria, Murray & Larochelle, arXiv:1310.1757, section 4; Germain et al.,
arXiv:1502.03509, section 4).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...data import Batch, map_tree
from ...layout import Layout
from ...likelihoods import Likelihood
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ancestral import Step
from ...spaces import Tree
from .legal import drawn_features, legal_levels
from .model import Autoregressive


class _Member(nn.Module):
    """The shared network in one order. Its inputs and outputs are in that order, as `Autoregressive` expects."""

    def __init__(self, network: Any, index: int) -> None:
        super().__init__()
        self.network, self.index = network, index

    def extra_repr(self) -> str:
        return f"index={self.index}"

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to parameters (B, D, P)."""
        order = self.network.orders[self.index]
        return self.network(inputs[:, order.argsort()], context, self.index)[:, order]

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        return self.network.steps(context, like, self.index)


class OrderEnsemble(nn.Module):
    """p(x | c) = 1/M sum_m prod_i p(x_i | features before i in order m, c).

    Args:
        layout: how samples are flattened to features and conditions embedded as context.
        likelihood: distribution of each feature given its parameters.
        network: a module with a buffer `orders` (M, D), features in the order of drawing. Its
            `forward(inputs (B, D, K), context (B, C) or None, m)` returns parameters (B, D, P), in the order of the
            layout, of which each depends only on inputs before its feature in order m; its `steps(context, like, m)`
            begins to draw in that order.

    >>> from maquette.core.families.autoregressive.made import MADEConfig
    >>> from maquette.core.spaces import Vector
    >>> model: OrderEnsemble = MADEConfig(hidden=(8,), masks=4, order="random").build(Vector(dim=3))
    >>> x = torch.zeros(2, 3)
    >>> len(model), model.log_prob(x).shape, model.member(0).log_prob(x).shape
    (4, torch.Size([2]), torch.Size([2]))
    """

    def __init__(self, layout: Layout, likelihood: Likelihood, network: Any) -> None:
        super().__init__()
        self.layout, self.likelihood, self.network = layout, likelihood, network
        self.legal = legal_levels(layout)

    def extra_repr(self) -> str:
        return f"orders={len(self)}, features={self.layout.features}, likelihood={self.likelihood}"

    def __len__(self) -> int:
        return len(self.network.orders)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (f"mixture of {len(self)} masks or orders",) if len(self) > 1 else ()

    def member(self, index: int) -> Autoregressive:
        """The model of one order; it shares the weights."""
        return Autoregressive(self.layout, self.likelihood, _Member(self.network, index), self.network.orders[index])

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density (log-mass of discrete features), shape (B,), nats: M passes of the network."""
        members = [self.member(index).log_prob(x, condition) for index in range(len(self))]
        return torch.stack(members).logsumexp(0) - math.log(len(self))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the uniform noise "member" () and "numbers" (D, U), in the order of the layout."""
        require_batch_size(noise, n)
        uniforms = noise.uniform("numbers", (self.layout.features, self.likelihood.uniforms))
        context = self.layout.context(condition, uniforms).vector
        assigned = self.assign(noise)
        drawn = [
            member.draw(None if context is None else context[samples], uniforms[samples])
            for member, samples in assigned
        ]
        return self.layout.samples(_in_order(drawn, [samples for _, samples in assigned]))

    def assign(self, noise: Noise) -> list[tuple[Autoregressive, Tensor]]:
        """Assign each sample to a member at random; returns members with the indices of their samples, if any."""
        chosen = (noise.uniform("member") * len(self)).long()
        assigned = [(index, (chosen == index).nonzero().squeeze(1)) for index in range(len(self))]
        return [(self.member(index), samples) for index, samples in assigned if len(samples)]

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", OrderEnsembleObjective(self), (self.network,)),))]


class SingleOrder(OrderEnsemble):
    """An ensemble of one order, which has conditionals as well and can be drawn feature by feature.

    >>> from maquette.core.families.autoregressive.made import MADEConfig
    >>> from maquette.core.spaces import Vector
    >>> model: SingleOrder = MADEConfig(hidden=(8,)).build(Vector(dim=3))
    >>> model.order.tolist(), model.conditionals(torch.zeros(2, 3)).shape
    ([0, 1, 2], torch.Size([2, 3, 3]))
    """

    @property
    def order(self) -> Tensor:
        return self.network.orders[0]

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of each feature's conditional given those before it, in the order of the layout."""
        return self.member(0).conditionals(x, condition)

    def steps(self, n: int, condition: Tree | None = None) -> Step:
        """Begin to draw n samples feature by feature, in `order`; see `capabilities.Stepwise`."""
        return self.member(0).steps(n, condition)


class OrderEnsembleObjective(Objective):
    """Negative log-likelihood per feature, nats, under one member chosen at random for every sample.

    Its expectation is an upper bound on the negative log-likelihood of the mixture (Jensen); the two are equal for one
    member.

    >>> from maquette.core.families.autoregressive.made import MADEConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> objective = OrderEnsembleObjective(MADEConfig(masks=4).build(Vector(dim=3, support=Binary())))
    >>> index = torch.arange(2)
    >>> objective(Batch(torch.ones(2, 3), None, index), KeyedNoise(0, index)).losses.detach()  # before training: log 2
    tensor([0.6931, 0.6931])
    """

    def __init__(self, model: OrderEnsemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assigned, losses = self.model.assign(noise), []
        for member, samples in assigned:
            x = _select(batch.x, samples)
            c = None if batch.condition is None else _select(batch.condition, samples)
            losses.append(-member.log_prob(x, c))
        total = _in_order(losses, [samples for _, samples in assigned])
        drawn = drawn_features(self.model.legal, self.model.layout.flatten(batch.x), total)
        return Losses(total / self.model.layout.features) if drawn is None else Losses(total / drawn, weights=drawn)


def _select(x: Tree, samples: Tensor) -> Tree:
    return map_tree(lambda tensor: tensor[samples], x)


def _in_order(pieces: list[Tensor], samples: list[Tensor]) -> Tensor:
    """Join pieces (b, ...) that belong to the samples of indices (b,), in the order of the samples."""
    return torch.cat(pieces)[torch.cat(samples).argsort()]
