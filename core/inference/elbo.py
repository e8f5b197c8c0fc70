"""The terms of an evidence lower bound over a set of samples, and a decomposition of its KL divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..capabilities import Variational
from ..noise import Noise
from ..spaces import Tree


@dataclass(frozen=True)
class Term:
    """A mean over samples and draws, nats per sample.

    Attributes:
        value: the mean.
        error: its standard error over samples.
        groups: the mean of each group of latent variables, (groups,); of KL divergences only.

    >>> Term(value=1.5, error=0.1, groups=torch.tensor([1.5, 0.0])).active
    1
    """

    value: float
    error: float
    groups: Tensor | None = None

    @property
    def active(self) -> int:
        """Number of groups with a KL divergence above 0.01 nats: the others carry hardly any information."""
        return 0 if self.groups is None else int((self.groups > 0.01).sum())


@torch.no_grad()
def terms(
    model: Variational, x: Tree, condition: Tree | None = None, *, noise: Noise, draws: int = 1
) -> dict[str, Term]:
    """The bound, its reconstruction term, and the KL divergence of each layer of latent variables.

    Args:
        model: one with an evidence lower bound.
        x: samples, leading axis B, at least two.
        condition: one row per sample.
        noise: of batch size B; draw k reads it folded under "draw/k".
        draws: of the latent variables of each sample.

    Returns:
        "bound", "reconstruction", then the KL divergences by layer, as the model names them. The bound is the
        reconstruction term minus all KL divergences.

    >>> from maquette.core.families.vae.vae import VAEConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> model, noise = VAEConfig.example().build(Vector(dim=3)), KeyedNoise(0, torch.arange(5))
    >>> found = terms(model, torch.zeros(5, 3), noise=noise)
    >>> list(found), found["kl"].groups.shape
    (['bound', 'reconstruction', 'kl'], torch.Size([2]))
    """
    found = [model.elbo(x, condition, noise=noise.fold(f"draw/{k}")) for k in range(draws)]
    result = {
        "bound": _term(torch.stack([elbo.bound for elbo in found]).mean(0)),
        "reconstruction": _term(torch.stack([elbo.reconstruction for elbo in found]).mean(0)),
    }
    for name in found[0].kl:
        groups = torch.stack([elbo.kl[name] for elbo in found]).mean(0)
        result[name] = _term(groups.sum(1), groups.mean(0))
    return result


def _term(values: Tensor, groups: Tensor | None = None) -> Term:
    return Term(values.mean().item(), (values.std() / math.sqrt(len(values))).item(), groups)


@dataclass(frozen=True)
class KLDecomposition:
    """Three parts of KL(q(z | x) || p(z)), nats per sample; they sum to the mean of log q(z | x) - log p(z).

    Attributes:
        mutual_information: of sample and code.
        total_correlation: KL divergence of the aggregate posterior from the product of its marginals.
        dimensionwise_kl: KL divergences of the aggregate posterior's marginals from the prior, summed over the code's
            dimensions.
    """

    mutual_information: float
    total_correlation: float
    dimensionwise_kl: float


@torch.no_grad()
def decompose_kl(mean: Tensor, log_scale: Tensor, *, noise: Noise, block: int = 256) -> KLDecomposition:
    """Decompose the mean KL divergence of diagonal Gaussian posteriors from the standard normal prior.

    Chen et al., "Isolating sources of disentanglement in VAEs", arXiv:1802.04942, eq. 2. The aggregate posterior is
    the mixture of the posteriors of all N samples, so N should be large.

    Args:
        mean, log_scale: of the posteriors, (N, L).
        noise: of batch size N; reads "posterior" (L,).
        block: number of codes that are compared with all posteriors at a time; bounds the memory.

    >>> from maquette.core.noise import KeyedNoise
    >>> noise = KeyedNoise(0, torch.arange(1000))
    >>> mean = 0.8 * noise.normal("mean", (1,))  # with posteriors N(mean, 0.6^2), the aggregate is N(0, 1)
    >>> found = decompose_kl(mean, torch.full_like(mean, math.log(0.6)), noise=noise)
    >>> isinstance(found, KLDecomposition), round(found.mutual_information, 1)  # -log 0.6 = 0.51
    (True, 0.5)
    """
    n, dim = mean.shape
    z = mean + log_scale.exp() * noise.normal("posterior", (dim,))

    def log_q(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        return -0.5 * ((z - mean) * torch.exp(-log_scale)).square() - log_scale - 0.5 * math.log(2 * math.pi)

    joint, marginals = [], []
    for part in z.split(block):
        each = log_q(part[:, None], mean, log_scale)  # (block, N, L)
        joint.append(each.sum(2).logsumexp(1) - math.log(n))
        marginals.append((each.logsumexp(1) - math.log(n)).sum(1))
    posterior = log_q(z, mean, log_scale).sum(1)
    prior = log_q(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    aggregate, product = torch.cat(joint), torch.cat(marginals)
    return KLDecomposition(
        (posterior - aggregate).mean().item(), (aggregate - product).mean().item(), (product - prior).mean().item()
    )
