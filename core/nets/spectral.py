"""Spectral normalisation and regularisation without state: weights whose largest singular value is kept small.

Miyato et al., arXiv:1802.05957, keep the vector of the power iteration from step to step. That state would change in a
forward pass and could differ between processes, so here every forward pass starts anew from a fixed vector. Three
consequences: weights are divided by max(sigma, 1) instead of sigma (Behrmann et al., arXiv:1811.00995), so layers may
start at zero; the power iteration estimates sigma from below, so the true one exceeds 1 by some per cent; and of a
convolution it bounds the weight as a matrix (out, rest), not the operator norm, which may be larger.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def largest_singular_value(matrix: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Largest singular values (...) of matrices (..., R, C) by the power method, estimated from below.

    Args:
        matrix: (..., R, C).
        start: first vector, (R,).
        iterations: steps of the power method, of two matrix products each.

    >>> largest_singular_value(torch.diag(torch.tensor([3.0, 1.0])), torch.ones(2), iterations=10)
    tensor(3.)
    """
    with torch.no_grad():
        v = F.normalize(matrix.mT @ start, dim=-1)
        for _ in range(iterations):
            u = F.normalize((matrix @ v.unsqueeze(-1)).squeeze(-1), dim=-1)
            v = F.normalize((matrix.mT @ u.unsqueeze(-1)).squeeze(-1), dim=-1)
    return (matrix @ v.unsqueeze(-1)).squeeze(-1).norm(dim=-1)


class SpectralNorm(nn.Module):
    """Parametrisation of a weight (out_features, ...), taken as a matrix (out_features, rest).

    Args:
        out_features: rows of the matrix.
        n_power_iterations: steps of the power method.

    >>> SpectralNorm(out_features=2, n_power_iterations=8)(torch.diag(torch.tensor([4.0, 1.0])))
    tensor([[1.0000, 0.0000],
            [0.0000, 0.2500]])
    """

    start: Tensor

    def __init__(self, out_features: int, n_power_iterations: int) -> None:
        super().__init__()
        self.n_power_iterations = n_power_iterations
        self.register_buffer("start", F.normalize(torch.randn(out_features), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        sigma = largest_singular_value(weight.flatten(1), self.start, self.n_power_iterations)
        return weight / sigma.clamp(min=1.0)

    def extra_repr(self) -> str:
        return f"n_power_iterations={self.n_power_iterations}"


def spectral_norm(module: M, *, n_power_iterations: int = 8) -> M:
    """Constrain the largest singular value of every linear and convolution layer of a module, in place.

    Args:
        module: a network before its first use.
        n_power_iterations: steps of the power method in every forward pass.

    >>> layer = nn.Linear(4, 4)
    >>> _ = nn.init.constant_(layer.weight, 5.0)  # of norm 20
    >>> round(torch.linalg.matrix_norm(spectral_norm(layer).weight, ord=2).item(), 4)
    1.0
    """
    for layer in list(module.modules()):
        if isinstance(layer, Weighted):
            parametrize.register_parametrization(
                layer, "weight", SpectralNorm(layer.weight.shape[0], n_power_iterations)
            )
    return module


class SpectralPenalty(nn.Module):
    """Sum over layers of their largest singular values (Vahdat & Kautz, "NVAE", arXiv:2007.03898, section 3.2).

    It limits how much an encoder amplifies small changes of its input, and with that the KL of posteriors. Layers whose
    weights have the same shape share one batched power iteration. Call it inside the forward pass of the network that
    contains the layers, where sharded weights are whole.

    Args:
        network: contains the layers, and must not replace them afterwards.
        n_power_iterations: steps of the power method.

    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> for layer in (network[0], network[2]):
    ...     _ = nn.init.eye_(layer.weight)
    >>> SpectralPenalty(network)
    SpectralPenalty(2 layers, n_power_iterations=4)
    >>> round(SpectralPenalty(network)().item(), 4)
    2.0
    """

    def __init__(self, network: nn.Module, n_power_iterations: int = 4) -> None:
        super().__init__()
        self.n_power_iterations = n_power_iterations
        groups: dict[torch.Size, list[Weighted]] = {}
        for layer in network.modules():
            if isinstance(layer, Weighted):
                groups.setdefault(layer.weight.shape, []).append(layer)
        self._layers = list(groups.values())  # a plain list: the layers are submodules of the network, not of this
        for number, shape in enumerate(groups):
            self.register_buffer(f"start{number}", F.normalize(torch.randn(shape[0]), dim=0))

    def forward(self) -> Tensor:
        """The sum, shape ()."""
        starts = self.buffers()
        stacks = (torch.stack([layer.weight.flatten(1) for layer in layers]) for layers in self._layers)
        sums = [
            largest_singular_value(stack, start, self.n_power_iterations).sum()
            for stack, start in zip(stacks, starts, strict=True)
        ]
        return torch.stack(sums).sum()

    def extra_repr(self) -> str:
        layers = sum(len(group) for group in self._layers)
        return f"{layers} layers, n_power_iterations={self.n_power_iterations}"
