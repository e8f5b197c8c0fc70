"""Fully visible sigmoid belief net: each number's law is a generalised linear model of the numbers before it.

Neal, "Connectionist learning of belief networks", Artif. Intell. 56 (1992) 71; Frey, Hinton & Dayan, "Does the
wake-sleep algorithm produce good density estimators?", NIPS 1995.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ...layout import Layout
from ...likelihoods import likelihood_of, likelihoods
from ...registry import by_kind
from ...spaces import Space
from .. import FamilyConfig, families
from .model import SUPPORTS, Autoregressive


class StrictlyLower(nn.Module):
    """Linear in all inputs before one's own, and in the condition: (B, D, K) to (B, D, P)."""

    pairs: Tensor

    def __init__(self, numbers: int, inputs: int, context: int, outputs: int) -> None:
        super().__init__()
        pairs = torch.tril_indices(numbers, numbers, -1)  # (number, one before it)
        self.register_buffer("pairs", pairs, persistent=False)
        self.weight = nn.Parameter(torch.zeros(pairs.shape[1], outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(numbers, outputs))
        self.condition = nn.Linear(context, numbers * outputs, bias=False) if context else None

    def forward(self, inputs: Tensor, columns: Tensor | None) -> Tensor:
        numbers = len(self.bias)
        weight = self.weight.new_zeros(numbers, numbers, *self.weight.shape[1:]).index_put(
            tuple(self.pairs), self.weight
        )
        out = torch.einsum("bjk,ijpk->bip", inputs, weight) + self.bias
        if self.condition is not None:
            out = out + self.condition(columns).unflatten(1, self.bias.shape)
        return out


@families.register("fvsbn")
class FVSBNConfig(FamilyConfig):
    """Fully visible sigmoid belief net."""

    summary: ClassVar[str] = "each number a generalised linear model of those before it"
    reference: ClassVar[str] = "Neal, Artif. Intell. 56 (1992) 71; Frey et al., NIPS 1995"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["fvsbn"] = "fvsbn"
    likelihood: by_kind(likelihoods) | None = None  # type: ignore[valid-type]

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        law: Any = likelihood_of(layout.support, self.likelihood)
        return Autoregressive(layout, law, StrictlyLower(layout.width, law.columns, layout.context, law.parameters))
