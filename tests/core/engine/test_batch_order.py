"""Batches: every sample once per epoch, split over processes without loss."""

import pytest
import torch
from maquette.core.engine.batch_order import BatchOrder, split_batch


def test_every_epoch_holds_every_sample_once_in_an_order_of_its_own() -> None:
    order = BatchOrder(23, 5, seed=1)
    epochs = [torch.cat([order.batch(5 * epoch + slot) for slot in range(5)]) for epoch in range(3)]
    assert [len(order.batch(slot)) for slot in range(5)] == [5, 5, 5, 5, 3]
    assert all(torch.equal(epoch.sort().values, torch.arange(23)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(BatchOrder(23, 5, seed=1).batch(7), epochs[1][10:15])
    assert not torch.equal(BatchOrder(23, 5, seed=2).batch(7), epochs[1][10:15])


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("micro", [None, 1, 2, 5])
@pytest.mark.parametrize("n", [1, 2, 7, 11])
def test_processes_split_a_batch_into_equally_many_pieces_without_loss(n: int, size: int, micro: int | None) -> None:
    splits = [split_batch(n, rank, size, micro) for rank in range(size)]
    counted = [piece.place[: piece.counts] for pieces in splits for piece in pieces]
    assert torch.equal(torch.cat(counted), torch.arange(n))
    assert len({len(pieces) for pieces in splits}) == 1
    assert all(0 < len(piece.place) <= (micro or n) for pieces in splits for piece in pieces)
