"""Models of several orders: a uniform mixture of autoregressive models that share one network.

The product rule holds in any order of the numbers, and in each a network has different things to learn: their mixture
predicts better than its members (Uria, Murray & Larochelle, arXiv:1310.1757, section 4; Germain et al.,
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
from .model import Autoregressive


class Member(nn.Module):
    """A shared network under one of its orders, as `Autoregressive` takes it: everything in the order of drawing."""

    def __init__(self, network: Any, number: int) -> None:
        super().__init__()
        self.network, self.number = network, number

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to parameters (B, D, P)."""
        order = self.network.orders[self.number]
        return self.network(inputs[:, order.argsort()], context, self.number)[:, order]

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        return self.network.steps(context, like, self.number)


class OrderEnsemble(nn.Module):
    """p(x | c) = 1/M sum_m prod_i p(x_i | numbers before i in order m, c).

    Args:
        layout: how samples and conditions become rows.
        likelihood: the law of each number.
        network: a module with a buffer `orders` (M, D) of places in the order of drawing; whose
            `forward(inputs (B, D, K), context (B, C) or None, m)` returns parameters (B, D, P), place by place of the
            row, of which each sees only inputs before its place in order m; and whose `steps(context, like, m)` begins
            to draw in that order.
    """

    def __init__(self, layout: Layout, likelihood: Likelihood, network: Any) -> None:
        super().__init__()
        self.layout, self.likelihood, self.network = layout, likelihood, network

    def __len__(self) -> int:
        return len(self.network.orders)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (f"mixture of {len(self)} masks or orders",) if len(self) > 1 else ()

    def member(self, number: int) -> Autoregressive:
        """The model of one order; its weights are those of this one."""
        return Autoregressive(self.layout, self.likelihood, Member(self.network, number), self.network.orders[number])

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density (log-mass where numbers are discrete), shape (B,), nats: M passes of the network."""
        members = [self.member(number).log_prob(x, condition) for number in range(len(self))]
        return torch.stack(members).logsumexp(0) - math.log(len(self))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the uniform noise "member" () and "numbers" (D, U), place by place of the row."""
        require_batch_size(noise, n)
        uniforms = noise.uniform("numbers", (self.layout.features, self.likelihood.uniforms))
        context = self.layout.context(condition, uniforms)
        shares = self._shares(noise)
        drawn = [
            self.member(number).draw(None if context is None else context[rows], uniforms[rows])
            for number, rows in shares
        ]
        return self.layout.unflatten(_joined(drawn, [rows for _, rows in shares]))

    def _shares(self, noise: Noise) -> list[tuple[int, Tensor]]:
        """Members with the rows (their numbers, int64) that each gets by lot; those without rows are left out."""
        lots = (noise.uniform("member") * len(self)).long()
        shares = [(number, (lots == number).nonzero().squeeze(1)) for number in range(len(self))]
        return [(number, rows) for number, rows in shares if len(rows)]

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", OrderEnsembleObjective(self), (self.network,)),))]


class OneOrder(OrderEnsemble):
    """The mixture of one: it has conditionals as well."""

    @property
    def order(self) -> Tensor:
        return self.network.orders[0]

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of each number's law given those before it, place by place of the row."""
        return self.member(0).conditionals(x, condition)

    def steps(self, n: int, condition: Tree | None = None) -> Step:
        """Begin to tell the laws of n samples number by number, in `order`; see `capabilities.Stepwise`."""
        return self.member(0).steps(n, condition)


class OrderEnsembleObjective(Objective):
    """Negative log-likelihood per number, nats, under one member by lot for every sample.

    Its mean is no less than the mixture's own (Jensen); the two agree where there is one member.
    """

    def __init__(self, model: OrderEnsemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model, losses, order = self.model, [], []
        for number, rows in model._shares(noise):
            x = map_tree(lambda tensor, rows=rows: tensor[rows], batch.x)
            c = None if batch.condition is None else map_tree(lambda tensor, rows=rows: tensor[rows], batch.condition)
            losses.append(-model.member(number).log_prob(x, c) / model.layout.features)
            order.append(rows)
        return Losses(_joined(losses, order))


def _joined(pieces: list[Tensor], rows: list[Tensor]) -> Tensor:
    """Pieces (b, ...) that belong to rows (b,), back in the order of the rows."""
    return torch.cat(pieces)[torch.cat(rows).argsort()]
