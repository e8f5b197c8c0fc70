"""Sources whose samples are all on the GPU, so that no step copies any there."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import Batch, Source
from ..memory import blocks, bytes_of
from .draws import Sources


class Resident:
    """A source with all its samples on a device; batches hold the same values as those of the source, to the bit.

    Args:
        source: of one sample or more; read once, block by block.
        device: where its samples, conditions and indices are kept.

    >>> from maquette.core.data import TensorSource
    >>> Resident(TensorSource(torch.arange(10.0)), "cpu").fetch(torch.tensor([7, 2])).x
    tensor([7., 2.])
    """

    def __init__(self, source: Source, device: torch.device | str) -> None:
        self.device, done = device, 0
        like = source.fetch(torch.zeros(1, dtype=torch.int64))
        whole = [part.new_empty(len(source), *part.shape[1:], device=device) for part in _tensors(like)]
        for block in blocks(source):
            for tensor, part in zip(whole, _tensors(block), strict=True):
                tensor[done : done + len(block)] = part
            done += len(block)
        given = iter(whole)
        self.batch = like.map(lambda _: next(given), lambda _: next(given))

    def __len__(self) -> int:
        return len(self.batch)

    def fetch(self, index: Tensor) -> Batch:
        """The samples at `index` (int64, on any device), on the device of this source."""
        return self.batch.take(index.to(self.device, non_blocking=True))


def _tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, in the order in which `Batch.map` goes through them."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    batch.map(note, note)
    return found


def resident(sources: Sources, device: torch.device, budget: int) -> Sources:
    """The sources, those that fit into so many bytes of a GPU together moved there; on a CPU they are what they are.

    >>> from maquette.core.data import TensorSource
    >>> source = TensorSource(torch.arange(10.0))
    >>> resident({"": source}, torch.device("cpu"), budget=2**30)[""] is source
    True
    """
    if device.type == "cpu":
        return sources
    moved: dict[str, Source] = {}
    for name, source in sources.items():
        size = len(source) * bytes_of(source.fetch(torch.zeros(1, dtype=torch.int64)))
        fits = size <= budget
        moved[name] = Resident(source, device) if fits else source
        budget -= size if fits else 0
    return moved
