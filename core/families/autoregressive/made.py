"""MADE: an autoencoder with some connections cut, so that each output sees only the numbers before its own.

Germain et al., "MADE: masked autoencoder for distribution estimation", arXiv:1502.03509. One pass gives all D
conditionals. With several masks (and random orders) the same weights hold as many models: the density is their mixture,
and each sample trains one of them, by lot.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import Width
from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, likelihood_of
from ...nets.masked import MaskedLinear, evenly_spaced_degrees
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .orders import OneOrder, OrderEnsemble


class MADE(nn.Module):
    """The network: ReLU layers that pass on numbers 0 .. r - 1 of an order to units of reach r or more.

    Args:
        orders: places in the order of drawing, one row for each set of masks, (M, D).
        inputs: K, numbers in which a feature is embedded.
        context_features: C, features of the context; every layer sees them.
        hidden: widths.
        outputs: P, parameters of a number.
        direct: whether the outputs see the numbers before theirs directly, too.
    """

    orders: Tensor
    hidden: Any  # a list of masked layers

    def __init__(
        self, orders: Tensor, inputs: int, context_features: int, hidden: Sequence[int], outputs: int, *, direct: bool
    ) -> None:
        super().__init__()
        self.register_buffer("orders", orders)
        numbers = orders.shape[1]
        self.inputs, self.outputs, self.direct = inputs, outputs, direct
        self.seen = numbers * inputs if numbers > 1 else 0  # a lone number is seen by none
        # units of reach 0 are of use where there is a condition to be seen; with reach D, they would feed no output
        least = 0 if context_features or numbers == 1 else 1
        for layer, width in enumerate(hidden):
            reaches = torch.stack([evenly_spaced_degrees(least, numbers - 1, width) for _ in orders])
            self.register_buffer(f"reaches{layer}", reaches)
        widths = (self.seen, *hidden)
        self.hidden = nn.ModuleList(MaskedLinear(a + context_features, b) for a, b in zip(widths, hidden, strict=False))
        self.leave = MaskedLinear(hidden[-1] + (self.seen if direct else 0) + context_features, numbers * outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def _reaches(self, m: int, context: Tensor | None) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
        """Reaches of what each hidden layer takes and gives, then those of what the outputs take, and theirs."""
        ranks = self.orders[m].argsort()
        free = ranks.new_zeros(0 if context is None else context.shape[1])
        numbers = (ranks + 1).repeat_interleave(self.inputs)[: self.seen]
        layers = [getattr(self, f"reaches{layer}")[m] for layer in range(len(self.hidden))]
        pairs = [(torch.cat((a, free)), b) for a, b in zip((numbers, *layers), layers, strict=False)]
        last = torch.cat((layers[-1], numbers, free) if self.direct else (layers[-1], free))
        return pairs, last, ranks.repeat_interleave(self.outputs)

    def forward(self, inputs: Tensor, context: Tensor | None, m: int = 0) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to parameters (B, D, P) under masks m."""
        pairs, last, given = self._reaches(m, context)
        numbers = inputs.flatten(1)[:, : self.seen]
        free = inputs[:, 0, :0] if context is None else context
        x = numbers
        for layer, (takes, gives) in zip(self.hidden, pairs, strict=True):
            x = torch.relu(layer(torch.cat((x, free), dim=1), takes, gives))
        x = torch.cat((x, numbers, free) if self.direct else (x, free), dim=1)
        return self.leave(x, last, given).unflatten(1, (-1, self.outputs))

    def steps(self, context: Tensor | None, like: Tensor, m: int = 0) -> Step:
        """Draw with the first layer's sums remembered; of the last layer, each number takes its own rows."""
        return self._draw(context, like, m).send

    def _draw(self, context: Tensor | None, like: Tensor, m: int) -> Generator[Tensor, Any, None]:
        pairs, last, given = self._reaches(m, context)
        free = like.new_zeros(like.shape[0], 0) if context is None else context
        numbers = like.new_zeros(like.shape[0], self.seen)
        weights = [layer.masked(*pair) for layer, pair in zip(self.hidden, pairs, strict=True)]
        biases = [layer.bias for layer in self.hidden]
        leave = self.leave.masked(last, given)
        sums = F.linear(torch.cat((numbers, free), dim=1), weights[0], biases[0])
        for place in self.orders[m].tolist():
            x = torch.relu(sums)
            for weight, bias in zip(weights[1:], biases[1:], strict=True):
                x = torch.relu(F.linear(torch.cat((x, free), dim=1), weight, bias))
            x = torch.cat((x, numbers, free) if self.direct else (x, free), dim=1)
            own, seen = (slice(place * size, (place + 1) * size) for size in (self.outputs, self.inputs))
            numbers[:, seen] = drawn = yield F.linear(x, leave[own], self.leave.bias[own])
            sums = sums + drawn @ weights[0][:, seen].T


@families.register("made")
class MADEConfig(FamilyConfig):
    """Masked autoencoder for distribution estimation."""

    summary: ClassVar[str] = "a masked network gives all conditionals at once; with several masks, a mixture"
    reference: ClassVar[str] = "Germain et al., arXiv:1502.03509"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = OrderEnsemble

    kind: Literal["made"] = "made"
    hidden: tuple[Width, ...] = Field(default=(500,), min_length=1, description="widths of the hidden layers")
    masks: int = Field(default=1, ge=1, description="sets of masks; the density is the mixture over them")
    order: Literal["natural", "random"] = Field(
        default="natural", description="numbers are drawn in the order of the row, or each set of masks has its own"
    )
    direct: bool = Field(default=False, description="connect inputs to outputs directly, too")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> OrderEnsemble:
        layout = Layout(space, condition, SUPPORTS)
        law: Any = likelihood_of(layout.support, self.likelihood)
        if layout.features == 1 and not layout.context_features:
            raise ConfigError("made: one number without a condition leaves nothing to be seen; use fvsbn.")
        order = torch.randperm if self.order == "random" else torch.arange
        orders = torch.stack([order(layout.features) for _ in range(self.masks)])
        network = MADE(orders, law.embed_dim, layout.context_features, self.hidden, law.parameters, direct=self.direct)
        return (OneOrder if self.masks == 1 else OrderEnsemble)(layout, law, network)

    @classmethod
    def example(cls) -> MADEConfig:
        return cls(hidden=(8, 8), order="random")
