"""What autoregressive models share: a causal network computes all conditionals and is fitted by maximum likelihood."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ...constraint import Path
from ...data import Batch
from ...layout import Layout, cast_like
from ...likelihoods import Likelihood, at_least_float32
from ...noise import Noise, require_batch_size
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ancestral import Step, ancestral, constrained_step, uncached_step
from ...spaces import Tree
from .legal import drawn_features, legal_levels


@runtime_checkable
class Incremental(Protocol):
    """A causal network that can draw feature by feature with a cache, instead of a full pass for every feature."""

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw: each call takes the embedding (B, K) of the last feature, None at first, and returns (B, P).

        Args:
            context: (B, C).
            like: (B, ...) of the batch size, device and dtype wanted.
        """
        ...


@runtime_checkable
class SupportsDropout(Protocol):
    """A causal network with dropout: its `forward(inputs, context, mask)` multiplies hidden features by `mask`.

    A mask is the same at all positions of a sample (Gal & Ghahramani, arXiv:1512.05287): it needs little noise, and
    what is dropped at one position cannot be read from its neighbours.
    """

    dropout: float  # probability
    dropout_shape: tuple[int, ...]  # of the mask of one sample


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """x times a dropout mask, if there is one.

    >>> apply_mask(torch.ones(2), torch.tensor([0.0, 2.0]))
    tensor([0., 2.])
    """
    return x if mask is None else x * mask


class Autoregressive(nn.Module):
    """log p(x | c) = sum_i log p(x_i | x_<i, c), in a fixed order of the features.

    Args:
        layout: how samples are flattened to features and conditions embedded as context.
        likelihood: distribution of each feature given its parameters.
        network: a module whose `forward(inputs (B, D, K), context (B, C) or None)` returns parameters (B, D, P), of
            which the i-th depend only on inputs before i. If it is `Incremental`, sampling uses that.
        order: features in the order in which they are drawn, (D,); by default that of the flattened sample.

    >>> from maquette.core.likelihoods.gaussian import GaussianMixtureConfig
    >>> from maquette.core.nets.triangular import StrictlyLower
    >>> from maquette.core.spaces import Real, Vector
    >>> likelihood = GaussianMixtureConfig().build(Real())
    >>> network = StrictlyLower(3, likelihood.embed_dim, 0, likelihood.parameters)
    >>> model = Autoregressive(Layout(Vector(dim=3)), likelihood, network, order=torch.tensor([2, 0, 1]))
    >>> model.conditionals(torch.zeros(5, 3)).shape
    torch.Size([5, 3, 3])
    """

    order: Tensor
    position: Tensor  # of each feature in the order of drawing

    def __init__(self, layout: Layout, likelihood: Likelihood, network: nn.Module, order: Tensor | None = None) -> None:
        super().__init__()
        self.layout, self.likelihood, self.network = layout, likelihood, network
        order = torch.arange(layout.features) if order is None else order
        self.register_buffer("order", order)
        self.register_buffer("position", order.argsort(), persistent=False)
        self.legal = legal_levels(layout, order)

    def extra_repr(self) -> str:
        return (
            f"features={self.layout.features}, context_features={self.layout.context_features}, "
            f"likelihood={self.likelihood}"
        )

    def forward(self, x: Tensor, context: Tensor | None, *mask: Tensor) -> Tensor:
        """Flat samples (B, D), context (B, C) and a dropout mask, if any, to parameters (B, D, P), in `order`."""
        sequence = x[:, self.order]
        inputs = self.likelihood.embed(sequence, cast_like(x, self.network))
        return self._restrict(at_least_float32(self.network(inputs, context, *mask)), sequence)

    def _restrict(self, parameters: Tensor, sequence: Tensor) -> Tensor:
        """Parameters (B, D, P) of the distributions among the levels that features of sequences (B, D) can take."""
        if self.legal is None:
            return parameters
        likelihood: Any = self.likelihood  # `features_of` has found one that can be restricted
        return likelihood.restrict(parameters, self.legal.along(sequence))

    def context(self, x: Tensor, condition: Tree | None) -> Tensor | None:
        """Context (B, C) in the dtype of the network, for flat samples x (B, D)."""
        return self.layout.context(condition, cast_like(x, self.network)).vector

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of each feature's conditional given those before it, in the order of the layout."""
        flat = self.layout.flatten(x)
        return self(flat, self.context(flat, condition))[:, self.position]

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Exact log-density (log-mass of discrete features), shape (B,), nats."""
        flat = self.layout.flatten(x)
        parameters = self(flat, self.context(flat, condition))
        return self.likelihood.log_prob(parameters, flat[:, self.order]).sum(1)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the uniform noise "numbers" (D, U), in the order of the layout."""
        require_batch_size(noise, n)
        uniforms = noise.uniform("numbers", (self.layout.features, self.likelihood.uniforms))
        return self.layout.samples(self.draw(self.layout.context(condition, uniforms).vector, uniforms))

    def draw(self, context: Tensor | None, uniforms: Tensor) -> Tensor:
        """Flat samples (B, D) from context (B, C) and uniform numbers (B, D, U), in the order of the layout."""
        sequence = ancestral(self._begin(context, uniforms), self.likelihood.draw, uniforms[:, self.order])
        return sequence[:, self.position]

    def steps(self, n: int, condition: Tree | None = None) -> Step:
        """Begin to draw n samples feature by feature, in `order`; see `capabilities.Stepwise`."""
        like = next(self.parameters()).new_zeros(n, self.layout.features)
        return self._begin(self.layout.context(condition, like).vector, like)

    def _begin(self, context: Tensor | None, like: Tensor) -> Step:
        step = self._network_step(context, like)
        if self.legal is None:
            return step
        likelihood: Any = self.likelihood
        return constrained_step(step, Path.begin(self.legal, like.shape[0], device=like.device), likelihood.restrict)

    def _network_step(self, context: Tensor | None, like: Tensor) -> Step:
        embed = self.likelihood.embed
        if not isinstance(self.network, Incremental):
            start = like.new_zeros(like.shape[:2])
            return uncached_step(lambda sequence: at_least_float32(self.network(embed(sequence, like), context)), start)
        step = self.network.steps(context, like)
        return lambda previous: at_least_float32(step(None if previous is None else embed(previous, like)))

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", AutoregressiveObjective(self), (self,)),))]


class AutoregressiveObjective(Objective):
    """Negative log-likelihood per feature, nats; reads the noise "dropout" where the network has dropout.

    Of sequences of variable length it is the mean over the tokens and the end, and the sample's weight is their number:
    every token of a batch counts as much as any other.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Levels, Vector
    >>> objective = AutoregressiveObjective(FVSBNConfig().build(Vector(dim=3, support=Levels(count=8))))
    >>> index = torch.arange(2)
    >>> batch = Batch(torch.tensor([[0, 1, 7], [3, 3, 3]]), None, index)
    >>> objective(batch, KeyedNoise(0, index)).losses.tolist()  # uniform before training: log 8
    [2.079441547393799, 2.079441547393799]
    """

    def __init__(self, model: Autoregressive) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        flat = model.layout.flatten(batch.x)
        parameters = model(flat, model.context(flat, batch.condition), *self.dropout_mask(noise))
        losses = -model.likelihood.log_prob(parameters, flat[:, model.order])
        drawn = drawn_features(model.legal, flat, losses)
        return Losses(losses.mean(1)) if drawn is None else Losses(losses.sum(1) / drawn, weights=drawn)

    def dropout_mask(self, noise: Noise) -> tuple[Tensor, ...]:
        """A mask, scaled so that hidden features keep their mean; empty for a network without dropout."""
        network = self.model.network
        if not isinstance(network, SupportsDropout) or network.dropout == 0:
            return ()
        u = noise.uniform("dropout", network.dropout_shape)
        return ((u > network.dropout).to(u.dtype) / (1 - network.dropout),)
