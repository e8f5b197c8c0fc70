"""A codebook learned by moving averages: online k-means.

Van den Oord, Vinyals & Kavukcuoglu, arXiv:1711.00937, appendix A.1: each entry is the moving average of the vectors
that were nearest to it, so it needs no gradient. An entry that is nearest to no vector would never move. As in Linde,
Buzo & Gray, "An algorithm for vector quantizer design" (IEEE Trans. Commun. 28 (1980) 84), such an entry takes over
half of the vectors of an entry in frequent use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...precision import all_digits


class Codebook(nn.Module):
    """Entries (K, d) and moving averages of the vectors nearest to each; all are buffers that only `update` changes.

    Args:
        size: number of entries, K.
        embedding_dim: d.
        decay: of the moving averages, per step.
        dead_threshold: an entry used less than this fraction of the mean use is dead, and is replaced.

    >>> codebook = Codebook(512, 2, decay=0.99, dead_threshold=0.03)
    >>> codebook
    Codebook(512, 2, decay=0.99, dead_threshold=0.03)
    >>> codes = codebook.nearest(torch.zeros(4, 7, 2))
    >>> codes.shape, codebook.embed(codes).shape
    (torch.Size([4, 7]), torch.Size([4, 7, 2]))
    """

    entries: Tensor
    counts: Tensor  # moving average of the number of vectors per step
    sums: Tensor  # moving average of the sum of those vectors per step

    def __init__(self, size: int, embedding_dim: int, *, decay: float, dead_threshold: float) -> None:
        super().__init__()
        self.decay, self.dead_threshold = decay, dead_threshold
        self.register_buffer("entries", torch.randn(size, embedding_dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, embedding_dim))

    def extra_repr(self) -> str:
        size, embedding_dim = self.entries.shape
        return f"{size}, {embedding_dim}, decay={self.decay}, dead_threshold={self.dead_threshold}"

    def nearest(self, z: Tensor) -> Tensor:
        """Codes of vectors (..., d): indices of the nearest entries, int64 (...)."""
        with all_digits():  # bfloat16 might not tell the two nearest entries apart
            distance = self.entries.square().sum(1) - 2 * z @ self.entries.T  # less |z|^2, the same for all entries
        return distance.argmin(-1)

    def embed(self, codes: Tensor) -> Tensor:
        """Entries (..., d) of codes (...)."""
        return F.embedding(codes, self.entries)

    @property
    def dead(self) -> Tensor:
        """Which entries are used less than `dead_threshold` of the mean use, (K,), bool."""
        return self.counts < self.dead_threshold * self.counts.mean()

    @torch.no_grad()
    def statistics(self, z: Tensor, codes: Tensor, u: Tensor) -> dict[str, Tensor]:
        """What `update` needs, as sums over samples.

        Args:
            z: vectors (..., d).
            codes: their codes (...).
            u: uniform draws (...), which choose a random half of each entry's vectors.
        """
        vectors = z.reshape(-1, z.shape[-1])
        # a product of matrices, unlike a scatter, is the same in every run on a GPU
        chosen = F.one_hot(codes.flatten(), len(self.entries)).to(z.dtype)
        half = chosen * (u.reshape(-1, 1) < 0.5)
        with all_digits():
            return {
                "counts": chosen.sum(0),
                "sums": chosen.T @ vectors,
                "half counts": half.sum(0),
                "half sums": half.T @ vectors,
            }

    @torch.no_grad()
    def update(self, statistics: dict[str, Tensor]) -> None:
        """Update the moving averages with the sums of a step, then replace dead entries."""
        self.counts.lerp_(statistics["counts"], 1 - self.decay)
        self.sums.lerp_(statistics["sums"], 1 - self.decay)
        used = self.counts > 0  # entries that were never used stay where they are
        mean = self.sums / self.counts.clamp(min=1e-30)[:, None]
        self.entries.copy_(torch.where(used[:, None], mean, self.entries))
        self._replace_dead(statistics["half counts"], statistics["half sums"])

    def _replace_dead(self, half_counts: Tensor, half_sums: Tensor) -> None:
        """Replace dead entries, the least used by the most used one first, as far as there are busy entries.

        A dead entry becomes the mean of a random half of a busy entry's vectors, and each has half of the busy entry's
        count from then on. The two entries differ by chance alone, which is enough: in the next step each is nearest to
        the vectors on its side.
        """
        busy = self.counts.argsort(descending=True, stable=True)[: len(self.entries) // 2]
        idle = self.counts.argsort(stable=True)[: len(self.entries) // 2]
        replaced = self.dead[idle] & (self.counts[busy] >= self.counts.mean()) & (half_counts[busy] > 0)
        mean = half_sums[busy] / half_counts[busy].clamp(min=1)[:, None]
        half_use = 0.5 * self.counts[busy]
        for tensor, index, value in (
            (self.entries, idle, mean),
            (self.sums, idle, half_use[:, None] * mean),
            (self.counts, idle, half_use),
            (self.sums, busy, 0.5 * self.sums[busy]),
            (self.counts, busy, half_use),
        ):
            where = replaced if value.ndim == 1 else replaced[:, None]
            tensor[index] = torch.where(where, value, tensor[index])
