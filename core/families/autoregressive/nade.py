"""NADE: hidden units that grow with the numbers seen so far, with weights that all places share.

Larochelle & Murray, "The neural autoregressive distribution estimator", AISTATS 2011: the activation of the hidden
units before number i is that before number i - 1 plus one column of weights, so that all D conditionals cost what one
pass through a network costs. With mixtures as laws it is RNADE (Uria, Murray & Larochelle, arXiv:1306.0186).

With several orders it is trained for all D! of them at once (Uria, Murray & Larochelle, arXiv:1310.1757): each sample
is scored in an order of its own, drawn anew in every step, and each unit of input says in addition that it was seen.
The paper scores a random split of the order; with the weights shared, the whole order costs little more and tells more.
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
from ...layout import Layout, cast_like
from ...likelihoods import SUPPORTS, AnyLikelihood, at_least_float32, likelihood_of
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .orders import OneOrder, OrderEnsemble


class NADE(nn.Module):
    """The network; a_1 = c, a_{i+1} = a_i + W_i x_i, h_i = sigmoid(a_i), parameters_i = V_i h_i + b_i.

    Args:
        orders: places in the order of drawing, (M, D); natural if there is one.
        inputs: K, numbers in which a feature is embedded.
        context_features: C, features of the context; they enter by c.
        hidden: widths; the first is that of h, the others of layers above it, the same at all places.
        outputs: P, parameters of a number.
    """

    orders: Tensor

    def __init__(self, orders: Tensor, inputs: int, context_features: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.register_buffer("orders", orders)
        several, numbers = len(orders) > 1, orders.shape[1]
        width, *above = hidden
        # the last number of a lone order is seen by none
        seen = numbers if several else numbers - 1
        self.weight = nn.Parameter(torch.randn(seen, inputs, width) / math.sqrt(numbers * inputs))
        self.seen = nn.Parameter(torch.zeros(numbers, width)) if several else None
        self.bias = nn.Parameter(torch.zeros(width))
        self.condition = nn.Linear(context_features, width, bias=False) if context_features else None
        pairs = zip(hidden, above, strict=False)
        self.above = nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.Sigmoid())))
        self.leave = nn.Parameter(torch.zeros(numbers, hidden[-1], outputs))
        self.offset = nn.Parameter(torch.zeros(numbers, outputs))

    def forward(self, inputs: Tensor, context: Tensor | None, order: int | Tensor = 0) -> Tensor:
        """Inputs (B, D, K) to parameters (B, D, P), in the order of that number, or in orders (B, D) of one's own."""
        terms = torch.einsum("bdk,dkh->bdh", inputs[:, : len(self.weight)], self.weight)
        if self.seen is None:
            return self._leave(self._hidden(terms, context))
        order = self.orders[order] if isinstance(order, int) else order
        hidden = self._hidden(_arranged(terms + self.seen, order)[:, :-1], context)
        return self._leave(_arranged(hidden, order.argsort(-1)))

    def _start(self, context: Tensor | None, like: Tensor) -> Tensor:
        """Activations (B, H) before anything was seen."""
        if self.condition is None:
            return self.bias.expand(like.shape[0], -1)
        return self.bias + self.condition(context)

    def _hidden(self, terms: Tensor, context: Tensor | None) -> Tensor:
        """What D - 1 numbers add (B, D - 1, H) to hidden units (B, D, H), in the order of drawing."""
        activations = torch.cat((self._start(context, terms)[:, None], terms), dim=1).cumsum(1)
        return self.above(torch.sigmoid(activations))

    def _leave(self, hidden: Tensor) -> Tensor:
        return torch.einsum("bdh,dhp->bdp", hidden, self.leave) + self.offset

    def steps(self, context: Tensor | None, like: Tensor, order: int = 0) -> Step:
        """Draw with the activations remembered: each number costs one column of weights."""
        return self._draw(context, like, self.orders[order].tolist()).send

    def _draw(self, context: Tensor | None, like: Tensor, order: list[int]) -> Generator[Tensor, Any, None]:
        activations = self._start(context, like)
        for place in order:
            drawn = yield self.above(torch.sigmoid(activations)) @ self.leave[place] + self.offset[place]
            activations = activations + drawn @ self.weight[place]
            if self.seen is not None:
                activations = activations + self.seen[place]


def _arranged(x: Tensor, order: Tensor) -> Tensor:
    """x (B, D, H) with its places in one order (D,), or in one of each row's own (B, D)."""
    return x[:, order] if order.ndim == 1 else torch.take_along_dim(x, order[..., None], dim=1)


class OrderAgnostic(OrderEnsemble):
    """The mixture over some orders of a NADE that is trained for all of them."""

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", OrderAgnosticObjective(self), (self.network,)),))]


class OrderAgnosticObjective(Objective):
    """Negative log-likelihood per number, nats, in an order of each sample's own; reads the noise "order" (D,)."""

    def __init__(self, model: OrderEnsemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        model = self.model
        order = noise.uniform("order", (model.layout.features,)).argsort(1)
        rows = model.layout.flatten(batch.x)
        inputs = model.likelihood.embed(rows, cast_like(rows, model.network))
        parameters = at_least_float32(model.network(inputs, model.layout.context(batch.condition, inputs), order))
        return Losses(-model.likelihood.log_prob(parameters, rows).mean(1))


@families.register("nade")
class NADEConfig(FamilyConfig):
    """Neural autoregressive distribution estimator."""

    summary: ClassVar[str] = "hidden units that grow with the numbers seen, in one order or in many"
    reference: ClassVar[str] = "Larochelle & Murray, AISTATS 2011; Uria et al., arXiv:1306.0186, arXiv:1310.1757"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = OrderEnsemble

    kind: Literal["nade"] = "nade"
    hidden: tuple[Width, ...] = Field(
        default=(500,), min_length=1, description="units that see the numbers, and widths of layers above them"
    )
    orders: int = Field(default=1, ge=1, description="orders in the mixture; 1: the natural one, more: order-agnostic")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> OrderEnsemble:
        layout = Layout(space, condition, SUPPORTS)
        law: Any = likelihood_of(layout.support, self.likelihood)
        width = layout.features
        if self.orders > 1 and width < 2:
            raise ConfigError(f"nade: {self.orders} orders need at least 2 numbers per sample, found 1; set orders=1.")
        natural = torch.arange(width)[None]
        orders = torch.stack([torch.randperm(width) for _ in range(self.orders)]) if self.orders > 1 else natural
        network = NADE(orders, law.embed_dim, layout.context_features, self.hidden, law.parameters)
        return (OrderAgnostic if self.orders > 1 else OneOrder)(layout, law, network)

    @classmethod
    def example(cls) -> NADEConfig:
        return cls(hidden=(8,))
