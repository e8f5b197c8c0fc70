"""Stage one of the codec: energy and hit count of each layer as one vector of 2 L features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.noise import Noise
from ....core.statistics.moments import RunningMoments

TINY = 1e-15
_UNSEEN = 0.5  # weight, in showers, of the hit counts that training does not have; per layer
_EDGE = 8.0  # standard normal quantiles are clamped to +- this


class LayerEnergies(nn.Module):
    """Layer energies (B, L) as standardised logits of ratios (B, L).

    The first is the logit of u0 = E_total / (f E_incident). Ratio k = 1 .. L-1 is the fraction of the energy in layer
    k-1 and all behind it that layer k-1 has. Where layer k-1 or everything behind it is empty, the ratio is 0, 1 or
    0/0: its feature carries no information and is filled with noise.

    Args:
        layers: L.

    >>> codec, incident, energies = LayerEnergies(3), torch.tensor([[10.0]]), torch.tensor([[1.0, 4.0, 2.0]])
    >>> y = codec.encode(energies, incident, filling=torch.zeros(1, 3))
    >>> codec.decode(y, energies > 0, incident)
    tensor([[1.0000, 4.0000, 2.0000]])
    """

    max_response: Tensor  # (), f: upper bound of E_total / E_incident
    scale: Tensor  # (2, L): mean and standard deviation of the logits

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("max_response", torch.tensor(1.0))
        self.register_buffer("scale", torch.stack((torch.zeros(layers), torch.ones(layers))))

    def extra_repr(self) -> str:
        return f"layers={self.layers}, max_response={self.max_response.item():.4g}"

    def fit_response(self, response: RunningMoments, largest: float) -> None:
        """Set f a tenth of a standard deviation above the largest response of training: its logit stays finite."""
        self.max_response.fill_(largest + max(0.1 * response.std.item(), 1e-4))

    def fit(self, logits: RunningMoments) -> None:
        """Set the scale of the logits."""
        self.scale.copy_(torch.stack((logits.mean, logits.std.clamp(min=1e-3))))

    def logits(self, energies: Tensor, incident: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of u0 and of the ratios 1 .. L-1 (B, L), and where they are defined.

        Args:
            energies: (B, L), MeV.
            incident: incident energy, (B, 1), MeV.
        """
        remaining = remaining_energy(energies)
        behind = F.pad(remaining[:, 1:], (0, 1))
        total = remaining[:, :1]
        missing = (self.max_response * incident - total).clamp(min=1e-6 * incident)
        numerator = torch.cat((total, energies[:, :-1]), dim=1)
        denominator = torch.cat((missing, behind[:, :-1]), dim=1)
        defined = (numerator > 0) & (denominator > 0)
        ratio = torch.where(defined, numerator, 1.0) / torch.where(defined, denominator, 1.0)
        return ratio.log(), defined

    def encode(self, energies: Tensor, incident: Tensor, filling: Tensor) -> Tensor:
        """Standardised logits (B, L); `filling` (B, L) where they are not defined."""
        logits, defined = self.logits(energies, incident)
        mean, std = self.scale
        return torch.where(defined, (logits - mean) / std, filling)

    def decode(self, y: Tensor, hit: Tensor, incident: Tensor) -> Tensor:
        """Standardised logits, which layers are hit, both (B, L), and E_incident (B, 1) to energies (B, L), MeV."""
        mean, std = self.scale
        logits = y * std + mean
        total = self.max_response * incident * torch.sigmoid(logits[:, :1])
        behind = hit.flip(1).cumsum(1).flip(1) - hit.long() > 0  # is any layer behind this one hit?
        one, zero = torch.ones_like(total), torch.zeros_like(total)
        logit = torch.cat((logits[:, 1:], zero), dim=1)
        fraction = torch.where(hit, torch.where(behind, torch.sigmoid(logit), one), zero)
        passed = torch.where(hit, torch.where(behind, F.logsigmoid(-logit), zero), zero)
        before = passed.cumsum(1) - passed
        return total * fraction * before.exp()


class HitCounts(nn.Module):
    """Hit counts (B, L) as standard normal features (B, L), by uniform dequantisation of their distribution.

    Args:
        layers: L.
        max_count: N, the largest possible count.

    >>> from maquette.core.noise import KeyedNoise
    >>> codec = HitCounts(layers=1, max_count=4)
    >>> codec.fit(torch.tensor([[5.0, 3.0, 2.0, 0.0, 0.0]], dtype=torch.float64), sizes=torch.tensor([4]))
    >>> z = codec.encode(torch.tensor([[0], [1], [2]]), KeyedNoise(0, torch.arange(3)))
    >>> codec.decode(z).tolist()
    [[0], [1], [2]]
    """

    edges: Tensor  # (L, N + 2): count n lies between the standard normal quantiles n and n + 1

    def __init__(self, layers: int, max_count: int) -> None:
        super().__init__()
        self.layers, self.max_count = layers, max_count
        self.register_buffer("edges", torch.zeros(layers, max_count + 2))

    def extra_repr(self) -> str:
        return f"layers={self.layers}, max_count={self.max_count}"

    def fit(self, histogram: Tensor, sizes: Tensor) -> None:
        """Set the edges from the distribution of training.

        Args:
            histogram: number of training showers by layer and count, (L, N + 1), float64.
            sizes: cells of each layer, (L,).
        """
        possible = torch.arange(self.max_count + 1) <= sizes[:, None]
        histogram = histogram + _UNSEEN * unseen_counts(histogram, possible)
        cumulative = F.pad(histogram.cumsum(1) / histogram.sum(1, keepdim=True), (1, 0)).clamp(0, 1)
        self.edges.copy_(torch.special.ndtri(cumulative).clamp(-_EDGE, _EDGE))

    def bounds(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Cumulative probabilities below and up to each count (B, L); float64."""
        edges = self.edges.double().expand(len(counts), -1, -1)
        low, high = (edges.gather(2, counts[:, :, None] + side)[:, :, 0] for side in (0, 1))
        return torch.special.ndtr(low), torch.special.ndtr(high)

    def encode(self, counts: Tensor, noise: Noise) -> Tensor:
        """Counts (B, L), int64, to standard normals between their edges."""
        low, high = self.bounds(counts)
        probability = torch.lerp(low, high, noise.uniform("count", (self.layers,)).double())
        return torch.special.ndtri(probability.clamp(TINY, 1 - TINY)).to(self.edges.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Inverse of `encode`: (B, L) to counts, int64."""
        return (z[:, :, None] >= self.edges[:, 1:-1]).sum(2)


def remaining_energy(energies: Tensor) -> Tensor:
    """Energy of each layer and all behind it, (B, L).

    >>> remaining_energy(torch.tensor([[1.0, 4.0, 2.0]]))
    tensor([[7., 6., 2.]])
    """
    return energies.flip(1).cumsum(1).flip(1)


def unseen_counts(histogram: Tensor, possible: Tensor) -> Tensor:
    """A distribution (L, N + 1) over the possible counts that a histogram (L, N + 1) does not have.

    It falls with the inverse cube of the distance to the nearest count that is there: the next shower may well have
    one hit more than all others, but hardly ten.

    >>> unseen_counts(torch.tensor([[0.0, 3.0, 2.0, 0.0, 0.0]]), torch.ones(1, 5, dtype=torch.bool)).round(decimals=2)
    tensor([[0.4700, 0.0000, 0.0000, 0.4700, 0.0600]], dtype=torch.float64)
    """
    n = torch.arange(histogram.shape[1], dtype=torch.float64).expand_as(histogram)
    far = 2.0 * histogram.shape[1]
    below = n - torch.where(histogram > 0, n, -far).cummax(1).values
    above = torch.where(histogram > 0, n, far).flip(1).cummin(1).values.flip(1) - n
    weight = torch.where((histogram == 0) & possible, torch.minimum(below, above), math.inf).pow(-3)
    return weight / weight.sum(1, keepdim=True).clamp(min=TINY)
