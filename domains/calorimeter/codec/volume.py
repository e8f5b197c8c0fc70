"""The log-volume of the codec's map: log |dy / d(x, noise)| as sums over layers and voxels.

Some coordinates are redundant: a layer's energy and count follow from its hits. Noise replaces them in the map, and
its density is divided out again, so that log p(x) >= log p(y) + volume holds for one draw of the noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .layers import TINY, remaining_energy


def log_normal(z: Tensor) -> Tensor:
    """Log-density of the standard normal, elementwise.

    >>> log_normal(torch.zeros(1))
    tensor([-0.9189])
    """
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def energy_terms(energies: Tensor, logits: Tensor, defined: Tensor) -> Tensor:
    """Terms (B, L) of log |d(logit u0, logits of ratios) / d(energies of hit layers)|.

    With E the remaining energy, d logit(u0) = dE / (E (1 - u0)), and of a ratio v = E_layer / E
    d logit(v) = dv / (v (1 - v)) with dv = dE_layer / E.

    >>> energies = torch.tensor([[2.0, 2.0]])
    >>> logits = torch.zeros(1, 2)  # half of the possible energy is deposited, and half of that in the first layer
    >>> energy_terms(energies, logits, torch.tensor([[True, False]]))  # a ratio that is not defined adds nothing
    tensor([[-0.6931,  0.0000]])
    """
    remaining = remaining_energy(energies)
    denominator = torch.cat((remaining[:, :1], remaining[:, :-1]), dim=1)
    log_ratio = torch.cat((torch.zeros_like(remaining[:, :1]), F.logsigmoid(logits[:, 1:])), dim=1)
    slope = -torch.where(defined, denominator, 1.0).log() - F.logsigmoid(-logits) - log_ratio
    return torch.where(defined, slope, torch.zeros_like(slope))


def count_terms(low: Tensor, high: Tensor, z: Tensor) -> Tensor:
    """Terms (B, L): log |dz / du| of the uniform u that dequantises a count between the probabilities low and high.

    >>> low, high = torch.tensor([[0.5]]), torch.tensor([[0.75]])
    >>> count_terms(low, high, torch.zeros(1, 1))  # log 0.25 + log(2 pi) / 2
    tensor([[-0.4674]])
    """
    return (high - low).clamp(min=TINY).log().to(z.dtype) - log_normal(z)


def gauge_terms(total: Tensor, cut: Tensor, gauge: Tensor, width: float) -> Tensor:
    """Terms (B, L) of the hit layers for the common scale of their excesses.

    (excesses w, gauge s) -> (W = sum of w, log w + s) has the determinant W / prod(w); the layer's energy is
    cut (W + count); the density of s is divided out.

    Args:
        total: W of each layer, (B, L); zero for layers without a hit.
        cut: MeV.
        gauge: the standard normal noise of each layer, (B, L).
        width: its standard deviation in s.

    >>> gauge_terms(torch.tensor([[3.0, 0.0]]), torch.tensor(2.0), torch.zeros(1, 2), width=0.1)
    tensor([[0.4081, 0.0000]])
    """
    terms = (cut * total.clamp(min=TINY)).log() + math.log(width) - log_normal(gauge)
    return torch.where(total > 0, terms, torch.zeros_like(terms))


def hit_terms(excess: Tensor, scaled: Tensor, cut: Tensor, hit: Tensor) -> Tensor:
    """Terms (B, voxels) of the hits: log |d log(1 + w') / d log w'| - log w - log cut, with w' = w exp(s).

    >>> excess, hit = torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])
    >>> hit_terms(excess, excess, cut=torch.tensor(1.0), hit=hit)  # log(1 / 2) for the hit
    tensor([[-0.6931,  0.0000]])
    """
    terms = (scaled / (1 + scaled)).log() - excess.log() - cut.log()
    return torch.where(hit, terms, torch.zeros_like(terms))
