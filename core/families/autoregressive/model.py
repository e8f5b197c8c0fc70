"""What autoregressive models share: a causal network that gives each number's law, fitted by maximum likelihood."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ...data import Batch
from ...layout import Layout, cast_like
from ...likelihoods import Likelihood, at_least_float32
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ancestral import Step, ancestral, uncached_step
from ...spaces import Tree


@runtime_checkable
class Incremental(Protocol):
    """A causal network that need not compute everything anew for every number of a sample."""

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw: the next call gets the last number as the network sees it, (B, K), and returns (B, P).

        Args:
            context: (B, C).
            like: (B, ...) of the batch size, device and dtype wanted.
        """
        ...


@runtime_checkable
class Droppable(Protocol):
    """A causal network that takes dropout: its `forward(inputs, context, keep)` multiplies features by masks `keep`.

    A mask is the same at all places of a sample (Gal & Ghahramani, arXiv:1512.05287): cheap to key, and what is dropped
    at one place cannot be read from its neighbour.
    """

    dropout: float  # probability
    dropped: tuple[int, ...]  # shape of the masks of one sample


def kept(features: Tensor, keep: Tensor | None) -> Tensor:
    """Features times a dropout mask, if there is one."""
    return features if keep is None else features * keep


class Autoregressive(nn.Module):
    """A density on rows (B, D): log p(x | c) = sum_i log p(x_i | x_<i, c), in a fixed order.

    Args:
        layout: how samples and conditions become rows.
        likelihood: the law of each number.
        network: a module whose `forward(inputs (B, D, K), context (B, C) or None)` returns parameters (B, D, P), of
            which the i-th see only inputs before i. If it is `Incremental`, sampling uses that.
        order: places of the row in the order in which they are drawn, (D,); by default that of the row.
    """

    order: Tensor
    place: Tensor  # where each number of a row is drawn

    def __init__(self, layout: Layout, likelihood: Likelihood, network: nn.Module, order: Tensor | None = None) -> None:
        super().__init__()
        self.layout, self.likelihood, self.network = layout, likelihood, network
        order = torch.arange(layout.features) if order is None else order
        self.register_buffer("order", order)
        self.register_buffer("place", order.argsort(), persistent=False)

    def forward(self, rows: Tensor, context: Tensor | None, *keep: Tensor) -> Tensor:
        """Rows (B, D), context (B, C) and a mask if any, to parameters (B, D, P), in the order of drawing."""
        inputs = self.likelihood.embed(rows[:, self.order], cast_like(rows, self.network))
        return at_least_float32(self.network(inputs, context, *keep))

    def _context(self, rows: Tensor, condition: Tree | None) -> Tensor | None:
        return self.layout.context(condition, cast_like(rows, self.network))

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of each number's law given those before it, place by place of the row."""
        rows = self.layout.flatten(x)
        return self(rows, self._context(rows, condition))[:, self.place]

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density (log-mass where numbers are discrete), shape (B,), nats."""
        rows = self.layout.flatten(x)
        parameters = self(rows, self._context(rows, condition))
        return self.likelihood.log_prob(parameters, rows[:, self.order]).sum(1)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the uniform noise "numbers" (D, U), place by place of the row."""
        require_batch_size(noise, n)
        uniforms = noise.uniform("numbers", (self.layout.features, self.likelihood.uniforms))
        return self.layout.unflatten(self.draw(self.layout.context(condition, uniforms), uniforms))

    def draw(self, context: Tensor | None, uniforms: Tensor) -> Tensor:
        """Rows (B, D) from context (B, C) and uniform numbers (B, D, U), place by place of the row."""
        sequence = ancestral(self._begin(context, uniforms), self.likelihood.draw, uniforms[:, self.order])
        return sequence[:, self.place]

    def steps(self, n: int, condition: Tree | None = None) -> Step:
        """Begin to tell the laws of n samples number by number, in `order`; see `capabilities.Stepwise`."""
        like = next(self.parameters()).new_zeros(n, self.layout.features)
        return self._begin(self.layout.context(condition, like), like)

    def _begin(self, context: Tensor | None, like: Tensor) -> Step:
        embed = self.likelihood.embed
        if not isinstance(self.network, Incremental):
            start = like.new_zeros(like.shape[:2])
            return uncached_step(lambda sequence: at_least_float32(self.network(embed(sequence, like), context)), start)
        step = self.network.steps(context, like)
        return lambda previous: at_least_float32(step(None if previous is None else embed(previous, like)))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", AutoregressiveObjective(self), (self,)),))]


class AutoregressiveObjective(Objective):
    """Negative log-likelihood per number, nats; with the noise "dropout" where the network takes it."""

    def __init__(self, model: Autoregressive) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        rows = model.layout.flatten(batch.x)
        parameters = model(rows, model._context(rows, batch.condition), *self._keep(noise))
        return Losses(-model.likelihood.log_prob(parameters, rows[:, model.order]).mean(1))

    def _keep(self, noise: Noise) -> tuple[Tensor, ...]:
        """The dropout mask, scaled so that features keep their mean, for a network that takes one."""
        network = self.model.network
        if not isinstance(network, Droppable) or network.dropout == 0:
            return ()
        u = noise.uniform("dropout", network.dropped)
        return ((u > network.dropout).to(u.dtype) / (1 - network.dropout),)
