"""Fully visible sigmoid belief net: each conditional is a generalised linear model of the features before it.

p(x_i | x_<i, c) = p(x_i; b_i + sum_{j<i} W_ij x_j + V_i c). For binary features p(x_i = 1) is the sigmoid of this sum;
for others there is one such sum for each parameter of the likelihood, such as the logit of each level.

Neal, "Connectionist learning of belief networks", Artif. Intell. 56 (1992) 71; Frey, Hinton & Dayan, "Does the
wake-sleep algorithm produce good density estimators?", NIPS 1995.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from ...likelihoods import AnyLikelihood
from ...nets.triangular import StrictlyLower
from ...spaces import Space
from .. import FamilyConfig, families
from .legal import features_of
from .model import Autoregressive


@families.register("fvsbn")
class FVSBNConfig(FamilyConfig):
    """Fully visible sigmoid belief net.

    >>> import torch
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = FVSBNConfig().build(Vector(dim=4, support=Binary()))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x)  # uniform before training: -4 log 2
    (torch.Size([2, 4]), tensor([-2.7726, -2.7726], grad_fn=<SumBackward1>))
    """

    summary: ClassVar[str] = "each conditional a generalised linear model of the features before it"
    reference: ClassVar[str] = "Neal, Artif. Intell. 56 (1992) 71; Frey et al., NIPS 1995"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["fvsbn"] = "fvsbn"
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout, likelihood = features_of(space, condition, self.likelihood)
        network = StrictlyLower(layout.features, likelihood.embed_dim, layout.context_features, likelihood.parameters)
        return Autoregressive(layout, likelihood, network)
