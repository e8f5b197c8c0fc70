"""MADE: an autoencoder whose connections are masked, so that each output depends only on the features before its own.

Germain et al., "MADE: masked autoencoder for distribution estimation", arXiv:1502.03509. One pass gives all D
conditionals. With M sets of masks (and random orders) the same weights give M models: the density is their mixture, and
each sample trains one of them, chosen at random.
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
from ...likelihoods import AnyLikelihood
from ...nets.masked import MaskedMLP
from ...samplers.ancestral import Step
from ...spaces import Space
from .. import FamilyConfig, families
from .legal import features_of
from .orders import OrderEnsemble, SingleOrder


class MADE(nn.Module):
    """The network: a masked MLP with ReLU, which can also be evaluated feature by feature.

    Args:
        orders: features in the order of drawing, one row for each set of masks, (M, D).
        embed_dim: K, inputs of each feature.
        context_features: C, features of the context.
        hidden: widths of the hidden layers.
        parameters: P, parameters of each feature's conditional.
        direct: whether inputs are connected to the outputs directly, too.

    >>> orders = torch.tensor([[0, 1, 2], [2, 0, 1]])
    >>> network = MADE(orders, embed_dim=1, context_features=0, hidden=(8,), parameters=2, direct=False)
    >>> network(torch.zeros(5, 3, 1), None, 1).shape
    torch.Size([5, 3, 2])
    """

    orders: Tensor

    def __init__(
        self,
        orders: Tensor,
        embed_dim: int,
        context_features: int,
        hidden: Sequence[int],
        parameters: int,
        *,
        direct: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("orders", orders)
        self.mlp = MaskedMLP(
            orders.argsort(1),
            parameters,
            hidden,
            context_features=context_features,
            embed_dim=embed_dim,
            activation=torch.relu,
            skip=nn.Identity() if direct else None,
        )

    def extra_repr(self) -> str:
        return f"orders={len(self.orders)}, features={self.orders.shape[1]}"

    def forward(self, inputs: Tensor, context: Tensor | None, m: int = 0) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to parameters (B, D, P), with the m-th set of masks."""
        return self.mlp(inputs.flatten(1), context, m)

    def steps(self, context: Tensor | None, like: Tensor, m: int = 0) -> Step:
        """Begin to draw (`Incremental`); keeps the first layer's sums, and computes one feature's outputs at a time."""
        return self._draw(context, like, m).send

    def _draw(self, context: Tensor | None, like: Tensor, m: int) -> Generator[Tensor, Any, None]:
        mlp, degrees = self.mlp, self.mlp.degrees(m, context)
        context_inputs = like.new_zeros(like.shape[0], 0) if context is None else context
        x = like.new_zeros(like.shape[0], mlp.inputs)
        layers = [*mlp.hidden, mlp.output]
        weights = [layer.masked_weight(*pair) for layer, pair in zip(layers, degrees, strict=True)]
        first, *others = [(weight, layer.bias) for weight, layer in zip(weights[:-1], mlp.hidden, strict=True)]
        sums = F.linear(torch.cat((x, context_inputs), dim=1), *first)
        for i in self.orders[m].tolist():
            h = torch.relu(sums)
            for weight, bias in others:
                h = torch.relu(F.linear(torch.cat((h, context_inputs), dim=1), weight, bias))
            out, seen = (slice(i * size, (i + 1) * size) for size in (mlp.outputs, mlp.embed_dim))
            h = mlp.output_inputs(h, x, context_inputs)
            x[:, seen] = drawn = yield F.linear(h, weights[-1][out], mlp.output.bias[out])
            sums = sums + drawn @ weights[0][:, seen].T


@families.register("made")
class MADEConfig(FamilyConfig):
    """Masked autoencoder for distribution estimation.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = MADEConfig(hidden=(16,), masks=4, order="random").build(Vector(dim=4, support=Binary()))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 4]), torch.Size([2]))
    """

    summary: ClassVar[str] = "a masked network gives all conditionals at once; with several masks, a mixture"
    reference: ClassVar[str] = "Germain et al., arXiv:1502.03509"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = OrderEnsemble

    kind: Literal["made"] = "made"
    hidden: tuple[Width, ...] = Field(default=(500,), min_length=1, description="widths of the hidden layers")
    masks: int = Field(default=1, ge=1, description="sets of masks; the density is the mixture over them")
    order: Literal["natural", "random"] = Field(
        default="natural", description="features are drawn in their own order, or in a random one for each set of masks"
    )
    direct: bool = Field(default=False, description="connect inputs to outputs directly, too")
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> OrderEnsemble:
        layout, likelihood = features_of(space, condition, self.likelihood, variable=self.order == "natural")
        if layout.features == 1 and not layout.context_features:
            raise ConfigError("made: one feature without a condition leaves the network without inputs; use fvsbn.")
        order = torch.randperm if self.order == "random" else torch.arange
        orders = torch.stack([order(layout.features) for _ in range(self.masks)])
        network = MADE(
            orders,
            likelihood.embed_dim,
            layout.context_features,
            self.hidden,
            likelihood.parameters,
            direct=self.direct,
        )
        return (SingleOrder if self.masks == 1 else OrderEnsemble)(layout, likelihood, network)

    @classmethod
    def example(cls) -> MADEConfig:
        return cls(hidden=(8, 8), order="random")
