"""NADE: hidden activations that accumulate the features seen so far, with weights shared by all conditionals.

Larochelle & Murray, "The neural autoregressive distribution estimator", AISTATS 2011: the hidden activation before
feature i is that before feature i - 1 plus one column of weights, so that all D conditionals cost as much as one pass
through a network. With mixtures as likelihood it is RNADE (Uria, Murray & Larochelle, arXiv:1306.0186).

With several orders it is trained for all D! of them at once (Uria, Murray & Larochelle, arXiv:1310.1757): each sample
is scored in its own order, drawn anew in every step, and a second set of weights encodes which features were seen. The
paper scores the features after a random position of the order; here all D of them are scored, at little more cost.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...config import Width
from ...data import Batch
from ...errors import ConfigError
from ...layout import cast_like
from ...likelihoods import AnyLikelihood, at_least_float32
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .legal import features_of
from .orders import OrderEnsemble, SingleOrder


class NADE(nn.Module):
    """The network; a_1 = c, a_{i+1} = a_i + W_i x_i, h_i = sigmoid(a_i), parameters_i = V_i h_i + b_i.

    Args:
        orders: features in the order of drawing, (M, D); a single one must be the natural order.
        embed_dim: K, inputs of each feature.
        context_features: C, features of the context; c is linear in them.
        hidden: widths; the first is that of h, the others those of layers on top, the same for all features.
        parameters: P, parameters of each feature's conditional.

    >>> network = NADE(torch.arange(3)[None], embed_dim=1, context_features=0, hidden=(8,), parameters=2)
    >>> network(torch.zeros(5, 3, 1), None).shape
    torch.Size([5, 3, 2])
    """

    orders: Tensor
    no_weight_decay: ClassVar[tuple[str, ...]] = ("seen", "output_bias")

    def __init__(
        self, orders: Tensor, embed_dim: int, context_features: int, hidden: Sequence[int], parameters: int
    ) -> None:
        super().__init__()
        self.register_buffer("orders", orders)
        several, features = len(orders) > 1, orders.shape[1]
        width, *above = hidden
        # with a single order, no conditional depends on the last feature
        seen = features if several else features - 1
        self.weight = nn.Parameter(torch.randn(seen, embed_dim, width) / math.sqrt(features * embed_dim))
        self.seen = nn.Parameter(torch.zeros(features, width)) if several else None
        self.bias = nn.Parameter(torch.zeros(width))
        self.context_proj = nn.Linear(context_features, width, bias=False) if context_features else None
        pairs = zip(hidden, above, strict=False)
        self.above = nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.Sigmoid())))
        self.output_weight = nn.Parameter(torch.zeros(features, hidden[-1], parameters))
        self.output_bias = nn.Parameter(torch.zeros(features, parameters))

    def extra_repr(self) -> str:
        orders, features = self.orders.shape
        return f"orders={orders}, features={features}, width={len(self.bias)}"

    def forward(self, inputs: Tensor, context: Tensor | None, order: int | Tensor = 0) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to parameters (B, D, P), for an order's index or orders (B, D)."""
        terms = torch.einsum("bdk,dkh->bdh", inputs[:, : len(self.weight)], self.weight)
        if self.seen is None:
            return self._outputs(self._hidden(terms, context))
        order = self.orders[order] if isinstance(order, int) else order
        hidden = self._hidden(_permuted(terms + self.seen, order)[:, :-1], context)
        return self._outputs(_permuted(hidden, order.argsort(-1)))

    def _start(self, context: Tensor | None, like: Tensor) -> Tensor:
        """Activations (B, H) before the first feature."""
        if self.context_proj is None:
            return self.bias.expand(like.shape[0], -1)
        return self.bias + self.context_proj(context)

    def _hidden(self, terms: Tensor, context: Tensor | None) -> Tensor:
        """Terms of D - 1 features (B, D - 1, H) to hidden units (B, D, H), in the order of drawing."""
        activations = torch.cat((self._start(context, terms)[:, None], terms), dim=1).cumsum(1)
        return self.above(torch.sigmoid(activations))

    def _outputs(self, hidden: Tensor) -> Tensor:
        return torch.einsum("bdh,dhp->bdp", hidden, self.output_weight) + self.output_bias

    def steps(self, context: Tensor | None, like: Tensor, order: int = 0) -> Step:
        """Begin to draw (`Incremental`); keeps the activations, to which each feature adds one column of weights."""
        return self._draw(context, like, self.orders[order].tolist()).send

    def _draw(self, context: Tensor | None, like: Tensor, order: list[int]) -> Generator[Tensor, Any, None]:
        activations = self._start(context, like)
        for i in order:
            drawn = yield self.above(torch.sigmoid(activations)) @ self.output_weight[i] + self.output_bias[i]
            activations = activations + drawn @ self.weight[i]
            if self.seen is not None:
                activations = activations + self.seen[i]


def _permuted(x: Tensor, order: Tensor) -> Tensor:
    """x (B, D, H) with its features in one order (D,), or in a separate one for each sample (B, D)."""
    return x[:, order] if order.ndim == 1 else torch.take_along_dim(x, order[..., None], dim=1)


class OrderAgnostic(OrderEnsemble):
    """The mixture over M orders of a NADE that is trained for all D! of them.

    >>> from maquette.core.spaces import Vector
    >>> model = NADEConfig(hidden=(8,), orders=4).build(Vector(dim=3))
    >>> isinstance(model, OrderAgnostic), model.likelihood_notes
    (True, ('mixture of 4 masks or orders',))
    """

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", OrderAgnosticObjective(self), (self.network,)),))]


class OrderAgnosticObjective(Objective):
    """Negative log-likelihood per feature, nats, in a random order for each sample; reads the noise "order" (D,).

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> objective = OrderAgnosticObjective(NADEConfig(orders=4).build(Vector(dim=3, support=Binary())))
    >>> index = torch.arange(2)
    >>> objective(Batch(torch.ones(2, 3), None, index), KeyedNoise(0, index)).losses.detach()  # before training: log 2
    tensor([0.6931, 0.6931])
    """

    def __init__(self, model: OrderEnsemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        order = noise.uniform("order", (model.layout.features,)).argsort(1)
        flat = model.layout.flatten(batch.x)
        inputs = model.likelihood.embed(flat, cast_like(flat, model.network))
        context = model.layout.context(batch.condition, inputs).vector
        parameters = at_least_float32(model.network(inputs, context, order))
        if model.legal is not None:
            likelihood: Any = model.likelihood  # `features_of` has found one that can be restricted
            parameters = likelihood.restrict(parameters, model.legal.possible)
        return Losses(-model.likelihood.log_prob(parameters, flat).mean(1))


@families.register("nade")
class NADEConfig(FamilyConfig):
    """Neural autoregressive distribution estimator.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = NADEConfig(hidden=(16,), orders=4).build(Vector(dim=4, support=Binary()))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 4]), torch.Size([2]))
    """

    summary: ClassVar[str] = "hidden units that accumulate the features seen so far, in one order or in many"
    reference: ClassVar[str] = "Larochelle & Murray, AISTATS 2011; Uria et al., arXiv:1306.0186, arXiv:1310.1757"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = OrderEnsemble

    kind: Literal["nade"] = "nade"
    hidden: tuple[Width, ...] = Field(
        default=(500,), min_length=1, description="widths of the accumulating layer and of those above it"
    )
    orders: int = Field(default=1, ge=1, description="orders in the mixture; 1: the natural one, more: order-agnostic")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> OrderEnsemble:
        layout, likelihood = features_of(space, condition, self.likelihood, variable=self.orders == 1)
        features = layout.features
        if self.orders > 1 and features < 2:
            raise ConfigError(f"nade: {self.orders} orders need at least 2 features per sample, found 1; set orders=1.")
        natural = torch.arange(features)[None]
        orders = torch.stack([torch.randperm(features) for _ in range(self.orders)]) if self.orders > 1 else natural
        network = NADE(orders, likelihood.embed_dim, layout.context_features, self.hidden, likelihood.parameters)
        return (OrderAgnostic if self.orders > 1 else SingleOrder)(layout, likelihood, network)

    @classmethod
    def example(cls) -> NADEConfig:
        return cls(hidden=(8,))
