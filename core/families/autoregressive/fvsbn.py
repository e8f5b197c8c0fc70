"""Fully visible sigmoid belief net: each number's law is a generalised linear model of the numbers before it.

p(x_i | x_<i, c) = law(x_i; b_i + sum_{j<i} W_ij x_j + V_i c): for binary numbers p(x_i = 1) is the sigmoid of this sum;
for others it gives all parameters of the law, such as a logit of each level.

Neal, "Connectionist learning of belief networks", Artif. Intell. 56 (1992) 71; Frey, Hinton & Dayan, "Does the
wake-sleep algorithm produce good density estimators?", NIPS 1995.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import nn

from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, likelihood_of
from ...nets.triangular import StrictlyLower
from ...spaces import Space
from .. import FamilyConfig, families
from .model import Autoregressive


@families.register("fvsbn")
class FVSBNConfig(FamilyConfig):
    """Fully visible sigmoid belief net."""

    summary: ClassVar[str] = "each number a generalised linear model of those before it"
    reference: ClassVar[str] = "Neal, Artif. Intell. 56 (1992) 71; Frey et al., NIPS 1995"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["fvsbn"] = "fvsbn"
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        law: Any = likelihood_of(layout.support, self.likelihood)
        return Autoregressive(
            layout, law, StrictlyLower(layout.features, law.embed_dim, layout.context_features, law.parameters)
        )
