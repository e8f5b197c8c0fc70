"""Batches follow what a sample takes, not a number of samples."""

from collections.abc import Callable

import pytest
import torch
from maquette.core.data import Batch, Subset, TensorSource
from maquette.core.memory import LiveBytes, blocks, bytes_of, bytes_per_sample, samples_at_once
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field
from torch import Tensor, nn

CPU = torch.device("cpu")
FIELD = Field(channels=1, grid=(16, 16, 16), periodic=(True, True, True))


def unet(widths: tuple[int, ...]) -> Callable[[int], object]:
    network = UNetConfig(widths=widths, strides=(2,), groups=2, attention=(), depth=1).build(FIELD)
    return lambda n: network(torch.zeros(n, 16**3))


@torch.no_grad()
def test_a_wider_network_gets_smaller_batches() -> None:
    narrow, wide = (bytes_per_sample(unet(widths)) for widths in ((4, 8), (16, 32)))
    cells = 4 * 16**3
    assert 2 * 3 * 16 * cells < wide < 2 * 16 * 16 * cells  # some maps of 16 channels at once, times 2
    assert 2.5 * narrow < wide
    assert samples_at_once(CPU, wide) < samples_at_once(CPU, narrow)


@torch.no_grad()
def test_what_does_not_grow_with_the_batch_does_not_count() -> None:
    weights = torch.zeros(1000, 1000)
    assert bytes_per_sample(lambda n: torch.zeros(n, 1000) @ (weights + 1)) == 2 * 2 * 4000


def test_the_peak_is_that_of_what_lives_at_once() -> None:
    def chain(x: Tensor) -> Tensor:
        for _ in range(5):
            x = x + 1  # two at once
        x += 1  # in place
        return x.view(10, 100).T[3:]  # the same memory

    with LiveBytes() as live:
        kept = chain(torch.zeros(1000))
        assert (live.now, live.peak) == (4000, 8000)
    del kept
    assert live.now == 0


def test_what_the_backward_pass_needs_stays_alive() -> None:
    layers = nn.Sequential(*(nn.Linear(100, 100, bias=False) for _ in range(6)))
    x = torch.zeros(10, 100)
    with LiveBytes() as training:
        layers(x).sum()
    with torch.no_grad(), LiveBytes() as sampling:
        layers(x).sum()
    assert training.peak > 2 * sampling.peak


@pytest.mark.parametrize("rows", [None, 1, 9000])
def test_blocks_are_the_source_in_order(rows: int | None) -> None:
    source = Subset(TensorSource(torch.arange(20_000.0)[:, None]), torch.arange(9999, -1, -1))
    found = torch.cat([block.index for block in blocks(source, rows)])
    assert torch.equal(found, torch.arange(9999, -1, -1)[:rows])


def test_an_empty_source_has_no_blocks() -> None:
    assert list(blocks(TensorSource(torch.zeros(0, 2)))) == []


def test_conditions_and_other_sources_count() -> None:
    other = Batch(torch.zeros(4, 3, dtype=torch.float64), None, torch.arange(4))
    batch = Batch(
        {"a": torch.zeros(4, 2), "b": torch.zeros(4)}, torch.zeros(4, 5), torch.arange(4), others={"o": other}
    )
    assert bytes_of(batch) == 4 * 2 + 4 + 4 * 5 + 8 * 3
