"""A codebook that follows what is assigned to it: k-means, online.

Van den Oord, Vinyals & Kavukcuoglu, arXiv:1711.00937, appendix A.1: each code is the running mean of the vectors that
were nearest to it, so it needs no gradient. Codes that nothing is near to would stay where they are for good; as in
Linde, Buzo & Gray, "An algorithm for vector quantizer design" (IEEE Trans. Commun. 28 (1980) 84), such a one takes over
half of what a busy code has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _own_dtype(z: Tensor) -> torch.autocast:
    """Products as precise as their factors, also where networks are cast: the nearest codes may be nearly as near."""
    return torch.autocast(z.device.type, enabled=False)


class Codebook(nn.Module):
    """Codes (K, d) and running sums over the vectors nearest to each; all are buffers that only `update` changes.

    Args:
        size: number of codes, K.
        width: numbers of a code, d.
        decay: of the running sums, per step.
        revive: a code used less than this, as a fraction of the mean use, takes over half of a busy code's vectors.
    """

    codes: Tensor
    counts: Tensor  # running number of vectors per step
    sums: Tensor  # running sum of those vectors per step

    def __init__(self, size: int, width: int, *, decay: float, revive: float) -> None:
        super().__init__()
        self.decay, self.revive = decay, revive
        self.register_buffer("codes", torch.randn(size, width))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, width))

    def nearest(self, z: Tensor) -> Tensor:
        """Numbers of the codes nearest to vectors (..., d), int64 (...)."""
        with _own_dtype(z):
            distance = self.codes.square().sum(1) - 2 * z @ self.codes.T  # but for |z|^2
        return distance.argmin(-1)

    def embed(self, index: Tensor) -> Tensor:
        """Codes (..., d) by number (...)."""
        return F.embedding(index, self.codes)

    @property
    def dead(self) -> Tensor:
        """Which codes are hardly used, (K,)."""
        return self.counts < self.revive * self.counts.mean()

    @torch.no_grad()
    def statistics(self, z: Tensor, index: Tensor, u: Tensor) -> dict[str, Tensor]:
        """What `update` needs, as sums over samples.

        Args:
            z: vectors (..., d).
            index: their codes (...).
            u: uniform numbers (...), which draw one of two halves of each code's vectors.
        """
        vectors = z.reshape(-1, z.shape[-1])
        chosen = F.one_hot(index.flatten(), len(self.codes)).to(z.dtype)  # a product is the same in every run on a GPU
        half = chosen * (u.reshape(-1, 1) < 0.5)
        with _own_dtype(z):
            return {
                "counts": chosen.sum(0),
                "sums": chosen.T @ vectors,
                "half counts": half.sum(0),
                "half sums": half.T @ vectors,
            }

    @torch.no_grad()
    def update(self, statistics: dict[str, Tensor]) -> None:
        """Take the sums of a step in, then give dead codes something to do."""
        self.counts.lerp_(statistics["counts"], 1 - self.decay)
        self.sums.lerp_(statistics["sums"], 1 - self.decay)
        used = self.counts > 0  # codes that never were stay where they are
        self.codes.copy_(torch.where(used[:, None], self.sums / self.counts.clamp(min=1e-30)[:, None], self.codes))
        self._split(statistics["half counts"], statistics["half sums"])

    def _split(self, half_counts: Tensor, half_sums: Tensor) -> None:
        """The least used codes, if dead, share with the busiest: each gets half of its use, and a half's mean.

        The two means differ by chance alone, which is enough: from the next step on each gets what is on its side.
        """
        busy = self.counts.argsort(descending=True, stable=True)[: len(self.codes) // 2]
        idle = self.counts.argsort(stable=True)[: len(self.codes) // 2]
        apt = self.dead[idle] & (self.counts[busy] >= self.counts.mean()) & (half_counts[busy] > 0)
        mean = half_sums[busy] / half_counts[busy].clamp(min=1)[:, None]
        share = 0.5 * self.counts[busy]
        for tensor, index, value in (
            (self.codes, idle, mean),
            (self.sums, idle, share[:, None] * mean),
            (self.counts, idle, share),
            (self.sums, busy, 0.5 * self.sums[busy]),
            (self.counts, busy, share),
        ):
            keep = apt if value.ndim == 1 else apt[:, None]
            tensor[index] = torch.where(keep, value, tensor[index])
