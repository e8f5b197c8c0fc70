"""Spectral normalisation and regularisation without state: weights whose largest singular value is kept small.

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

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def largest_singular_value(matrix: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Estimate from below, by the power method, of matrices (..., R, C) from one start (R,); shape (...)."""
    with torch.no_grad():
        v = F.normalize(matrix.mT @ start, dim=-1)
        for _ in range(iterations):
            u = F.normalize((matrix @ v.unsqueeze(-1)).squeeze(-1), dim=-1)
            v = F.normalize((matrix.mT @ u.unsqueeze(-1)).squeeze(-1), dim=-1)
    return (matrix @ v.unsqueeze(-1)).squeeze(-1).norm(dim=-1)


class SpectralNorm(nn.Module):
    """Parametrisation of a weight (out, ...) seen as a matrix (out, rest)."""

    start: Tensor

    def __init__(self, outputs: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.register_buffer("start", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        sigma = largest_singular_value(weight.flatten(1), self.start, self.iterations)
        return weight / sigma.clamp(min=1.0)


def spectral_norm(module: nn.Module, *, iterations: int = 8) -> nn.Module:
    """Constrain every linear and convolution layer of a module, in place.

    Args:
        module: a network before its first use.
        iterations: steps of the power method; the estimate comes from below.
    """
    for layer in list(module.modules()):
        if isinstance(layer, LAYERS):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight.shape[0], iterations))
    return module


class SpectralPenalty(nn.Module):
    """Sum over layers of their largest singular values (Vahdat & Kautz, "NVAE", arXiv:2007.03898, 3.2).

    It bounds how much the layers of an encoder can make of a small change, and with it the divergence of posteriors.
    Layers of one shape go through the power method together. Call it inside the forward pass of the network that owns
    the layers, where sharded weights are whole.

    Args:
        network: owns the layers; must not change them afterwards.
        iterations: steps of the power method.
    """

    def __init__(self, network: nn.Module, iterations: int = 4) -> None:
        super().__init__()
        self.iterations = iterations
        groups: dict[torch.Size, list[nn.Module]] = {}
        for layer in network.modules():
            if isinstance(layer, LAYERS):
                groups.setdefault(layer.weight.shape, []).append(layer)
        self._layers = list(groups.values())  # in a list of lists, for the layers are the network's, not this module's
        for number, shape in enumerate(groups):
            self.register_buffer(f"start{number}", F.normalize(torch.randn(shape[0]), dim=0))

    def forward(self) -> Tensor:
        """The sum, shape ()."""
        starts = self.buffers()
        stacks = (torch.stack([layer.weight.flatten(1) for layer in layers]) for layers in self._layers)  # type: ignore[operator]
        sums = [
            largest_singular_value(stack, start, self.iterations).sum()
            for stack, start in zip(stacks, starts, strict=True)
        ]
        return torch.stack(sums).sum()
