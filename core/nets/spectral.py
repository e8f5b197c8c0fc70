"""Spectral normalisation without state: weights whose largest singular value is at most one.

Miyato et al., arXiv:1802.05957, keep the vector of the power iteration from step to step; that state would have to be
changed inside a forward pass and kept alike over processes. Here the iteration starts anew from a fixed vector: a few
products with a matrix are cheap beside those with a batch. And the weight is divided by max(sigma, 1) instead of
sigma (Behrmann et al., arXiv:1811.00995), so that layers may start at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class SpectralNorm(nn.Module):
    """Parametrisation of a weight (out, ...) seen as a matrix (out, rest)."""

    start: Tensor

    def __init__(self, outputs: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.register_buffer("start", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.start, dim=0)
            for _ in range(self.iterations):
                u = F.normalize(matrix @ v, dim=0)
                v = F.normalize(matrix.T @ u, dim=0)
        sigma = (matrix @ v).norm()
        return weight / sigma.clamp(min=1.0)


def normalize(module: nn.Module, *, iterations: int = 8) -> nn.Module:
    """Constrain every linear and convolution layer of a module, in place.

    Args:
        module: a network before its first use.
        iterations: steps of the power method; the estimate comes from below.
    """
    for layer in list(module.modules()):
        if isinstance(layer, LAYERS):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight.shape[0], iterations))
    return module
