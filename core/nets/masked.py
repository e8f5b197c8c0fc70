"""Networks with masked weights: the outputs for a feature depend only on the features before it.

Every unit has a degree: the number of leading features, in some order, that it may depend on. A unit is connected to
those units of the layer below whose degrees do not exceed its own (Germain et al., "MADE: masked autoencoder for
distribution estimation", arXiv:1502.03509, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


class MaskedLinear(nn.Module):
    """y_o = b_o + sum of w_oi x_i over inputs i with degree_i <= degree_o. Every call gives the degrees.

    Args:
        in_features: I.
        out_features: O.

    >>> layer = MaskedLinear(3, 2)
    >>> (layer.masked_weight(torch.tensor([0, 1, 2]), torch.tensor([1, 0])) != 0).int().tolist()
    [[1, 1, 0], [1, 0, 0]]
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        dense = nn.Linear(in_features, out_features)
        self.weight, self.bias = dense.weight, dense.bias

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"

    def masked_weight(self, in_degrees: Tensor, out_degrees: Tensor) -> Tensor:
        """Weights (O, I) for inputs of degrees (I,) and outputs of degrees (O,), zero where there is no connection."""
        return torch.where(in_degrees <= out_degrees[:, None], self.weight, 0.0)

    def forward(self, x: Tensor, in_degrees: Tensor, out_degrees: Tensor) -> Tensor:
        """x (..., I) to (..., O)."""
        return F.linear(x, self.masked_weight(in_degrees, out_degrees), self.bias)


def evenly_spaced_degrees(lowest: int, highest: int, units: int) -> Tensor:
    """Degrees (units,), int64, spaced evenly from `lowest` to `highest` and shuffled by torch's global generator.

    The paper draws them at random. Even spacing uses every degree once a layer is as wide as the range.

    >>> sorted(evenly_spaced_degrees(1, 3, 6).tolist())
    [1, 1, 2, 2, 3, 3]
    """
    return (lowest + torch.arange(units) * (highest - lowest + 1) // units)[torch.randperm(units)]


class MaskedMLP(nn.Module):
    """An MLP whose outputs for a feature depend on the features at earlier positions, and on the context.

    Every layer sees the context. The last layer starts at zero. Several sets of masks may share the weights.

    Args:
        positions: position of each feature in the order, (D,) or one order for each of M sets of masks (M, D); int64
            from 0. Features at the same position do not see each other.
        outputs: P, outputs of each feature.
        hidden: widths of the hidden layers.
        context_features: C, features of the context.
        embed_dim: K, inputs of each feature.
        activation: after each hidden layer.
        skip: function of the inputs that the last layer also sees, `nn.Identity()` for a direct connection; None for
            no such connection.

    >>> network = MaskedMLP(torch.tensor([0, 1, 2]), outputs=2, hidden=(8,), context_features=4)
    >>> network(torch.zeros(5, 3), torch.zeros(5, 4)).shape
    torch.Size([5, 3, 2])
    """

    positions: Tensor
    hidden: Any  # a list of masked layers

    def __init__(
        self,
        positions: Tensor,
        outputs: int,
        hidden: Sequence[int],
        *,
        context_features: int = 0,
        embed_dim: int = 1,
        activation: Activation = F.relu,
        skip: Activation | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("positions", positions.reshape(-1, positions.shape[-1]))
        masks, features = self.positions.shape
        last = int(positions.max())
        self.features, self.outputs, self.embed_dim = features, outputs, embed_dim
        self.activation, self.skip = activation, skip
        # if all features are at the same position, no output depends on any of them
        self.inputs = features * embed_dim if last else 0
        # a unit of degree 0 sees the context only; one of degree `last + 1` would be connected to no output
        lowest = 0 if context_features or not last else 1
        for layer, width in enumerate(hidden):
            degrees = torch.stack([evenly_spaced_degrees(lowest, last, width) for _ in range(masks)])
            self.register_buffer(f"degrees{layer}", degrees)
        widths = (self.inputs, *hidden)
        self.hidden = nn.ModuleList(MaskedLinear(a + context_features, b) for a, b in pairwise(widths))
        skipped = 0 if skip is None else self.inputs
        self.output = MaskedLinear(widths[-1] + skipped + context_features, features * outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def extra_repr(self) -> str:
        return f"features={self.features}, outputs={self.outputs}, masks={len(self.positions)}"

    def degrees(self, m: int, context: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Degrees of the inputs and the outputs of each layer for the m-th set of masks, the output layer last."""
        position = self.positions[m]
        unmasked = position.new_zeros(0 if context is None else context.shape[-1])  # the context has degree 0
        inputs = (position + 1).repeat_interleave(self.embed_dim)[: self.inputs]
        units = [inputs, *(getattr(self, f"degrees{layer}")[m] for layer in range(len(self.hidden)))]
        pairs = [(torch.cat((below, unmasked)), above) for below, above in pairwise(units)]
        seen = torch.cat((units[-1], unmasked) if self.skip is None else (units[-1], inputs, unmasked))
        return [*pairs, (seen, position.repeat_interleave(self.outputs))]

    def output_inputs(self, h: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """Inputs of the output layer: the last hidden layer (..., H), `skip` of the inputs (..., D K), the context."""
        return torch.cat((h, context) if self.skip is None else (h, self.skip(x), context), dim=-1)

    def forward(self, x: Tensor, context: Tensor | None, m: int = 0) -> Tensor:
        """Inputs (..., D K) and context (..., C) to outputs (..., D, P), with the m-th set of masks."""
        *hidden, output = self.degrees(m, context)
        context_inputs = x[..., :0] if context is None else context
        x = x[..., : self.inputs]
        h = x
        for layer, degrees in zip(self.hidden, hidden, strict=True):
            h = self.activation(layer(torch.cat((h, context_inputs), dim=-1), *degrees))
        return self.output(self.output_inputs(h, x, context_inputs), *output).unflatten(-1, (-1, self.outputs))
