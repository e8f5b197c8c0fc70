"""What an evidence lower bound is made of: its terms over a set of samples, and what its divergence pays for."""

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
        groups: the mean by group of latent numbers, (groups,); of a divergence only.
    """

    value: float
    error: float
    groups: Tensor | None = None

    @property
    def active(self) -> int:
        """Groups that tell anything about a sample: more than 0.01 nats (after arXiv:1509.00519, section 5.2)."""
        return 0 if self.groups is None else int((self.groups > 0.01).sum())


@torch.no_grad()
def terms(
    model: Variational, x: Tree, condition: Tree | None = None, *, noise: Noise, draws: int = 1
) -> dict[str, Term]:
    """The bound, its reconstruction, and the divergence of each layer of latent numbers.

    Args:
        model: infers latent numbers.
        x: samples, leading axis B, at least two.
        condition: one row per sample.
        noise: of B rows; draw k reads it folded under "draw/k".
        draws: of the latent numbers of each sample.

    Returns:
        "bound", "reconstruction", then the layers as the model names them; the first is the second less the others.
    """
    found = [model.elbo(x, condition, noise=noise.fold(f"draw/{k}")) for k in range(draws)]
    result = {
        "bound": _term(torch.stack([evidence.bound for evidence in found]).mean(0)),
        "reconstruction": _term(torch.stack([evidence.reconstruction for evidence in found]).mean(0)),
    }
    for name in found[0].kl:
        groups = torch.stack([evidence.kl[name] for evidence in found]).mean(0)
        result[name] = _term(groups.sum(1), groups.mean(0))
    return result


def _term(values: Tensor, groups: Tensor | None = None) -> Term:
    return Term(values.mean().item(), (values.std() / math.sqrt(len(values))).item(), groups)


@dataclass(frozen=True)
class DivergenceSplit:
    """The three prices of a code, nats per sample; they sum to the mean of log q(z | x) - log p(z) over the draws.

    Attributes:
        information: mutual information of sample and code.
        correlation: total correlation, what the code's numbers share.
        marginals: divergence of each number's law from the prior, summed.
    """

    information: float
    correlation: float
    marginals: float


@torch.no_grad()
def split_divergence(mean: Tensor, log_scale: Tensor, *, noise: Noise, block: int = 256) -> DivergenceSplit:
    """Split the mean divergence of diagonal Gaussian posteriors from the standard normal prior.

    Chen et al., "Isolating sources of disentanglement in VAEs", arXiv:1802.04942, eq. 2, where the law of all codes is
    the mixture of the posteriors of the N samples given: there is no estimate of it from a small batch.

    Args:
        mean, log_scale: of the posteriors, (N, L).
        noise: of N rows; reads "posterior" (L,).
        block: codes that are compared with all posteriors at a time.
    """
    n, numbers = mean.shape
    z = mean + log_scale.exp() * noise.normal("posterior", (numbers,))

    def log_q(z: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        return -0.5 * ((z - mean) * torch.exp(-log_scale)).square() - log_scale - 0.5 * math.log(2 * math.pi)

    joint, single = [], []
    for part in z.split(block):
        each = log_q(part[:, None], mean, log_scale)  # (block, N, L)
        joint.append(each.sum(2).logsumexp(1) - math.log(n))
        single.append((each.logsumexp(1) - math.log(n)).sum(1))
    posterior = log_q(z, mean, log_scale).sum(1)
    prior = log_q(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    together, alone = torch.cat(joint), torch.cat(single)
    return DivergenceSplit(
        (posterior - together).mean().item(), (together - alone).mean().item(), (alone - prior).mean().item()
    )
