"""The loss on held-out samples: a weighted mean over all of them, for every player that needs no gradients."""

import pytest
import torch
from maquette.core import memory
from maquette.core.data import Subset
from maquette.core.engine.evaluate import HeldOutLoss
from maquette.core.engine.plan import ParallelConfig
from maquette.core.noise import KeyedNoise
from maquette.core.testing.odd_toys import grouped_plan, grouped_source
from maquette.core.testing.toys import denoiser_plan, denoiser_source, wasserstein_plan

PARALLEL = ParallelConfig(precision="float64")


def noise(index: torch.Tensor) -> KeyedNoise:
    return KeyedNoise(5, index, "evaluate", dtype=torch.float64)


@pytest.mark.parametrize("batch_size", [7, 45, 1000])
@torch.no_grad()
def test_it_is_the_weighted_mean_over_all_samples(batch_size: int) -> None:
    plan, source = denoiser_plan(PARALLEL), denoiser_source()
    for stage in plan.stages:
        for player in stage.players:
            player.objective.double()
    found = HeldOutLoss(plan, source, torch.device("cpu"), 10, batch_size=batch_size)(noise)
    batch = source.fetch(torch.arange(len(source))).to("cpu", torch.float64)
    expected = {}
    for stage in plan.stages:
        for player in stage.players:
            losses = player.objective(batch, noise(batch.index))
            mean = (losses.weights * losses.losses).sum() / losses.weights.sum()
            expected[f"held_out/{stage.name}/{player.name}"] = mean.item()
    assert set(found) == {"held_out/fit/model", "held_out/halve/student"}
    assert found == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
def test_players_that_need_gradients_are_left_out() -> None:
    plan, source = wasserstein_plan(PARALLEL), denoiser_source()
    players = [(stage.name, player) for stage in plan.stages for player in stage.players]
    for _, player in players:
        player.objective.double()
    found = HeldOutLoss(plan, source, torch.device("cpu"), 10)(noise)
    expected = {f"held_out/{stage}/{player.name}" for stage, player in players if not player.objective.double_backward}
    assert 0 < len(expected) < len(players)
    assert set(found) == expected


class Seen:
    """Sizes of the batches for which noise is asked."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, index: torch.Tensor) -> KeyedNoise:
        self.sizes.append(len(index))
        return noise(index)


@torch.no_grad()
@pytest.mark.parametrize(("budget", "micro", "largest"), [(6000, None, 8), (6000, 3, 3), (2**30, 20, 20), (1, None, 1)])
def test_batches_fit_into_the_memory_and_into_the_micro_batch(
    monkeypatch: pytest.MonkeyPatch, budget: int, micro: int | None, largest: int
) -> None:
    plan, source = denoiser_plan(PARALLEL, micro), denoiser_source()
    for stage in plan.stages:
        for player in stage.players:
            player.objective.double()
    whole = HeldOutLoss(plan, source, torch.device("cpu"), 10, batch_size=45)(noise)
    monkeypatch.setitem(memory.WORKING_BYTES, "cpu", budget)
    held_out, seen = HeldOutLoss(plan, source, torch.device("cpu"), 10), Seen()
    assert held_out(seen) == pytest.approx(whole, rel=1e-12)
    measured, seen.sizes = seen.sizes, []
    assert measured.count(2) >= 2  # two samples of each of two players
    held_out(seen)  # what a sample takes is known now
    assert max(seen.sizes) == largest
    assert sum(seen.sizes) == 2 * 45


@torch.no_grad()
def test_a_loss_of_groups_leaves_out_what_is_no_whole_group() -> None:
    plan = grouped_plan(PARALLEL)
    (player,) = plan.stages[0].players
    player.objective.double()
    source, group = grouped_source(), player.objective.group
    assert group > 1
    short = Subset(source, torch.arange(2 * group + 1))
    whole = Subset(source, torch.arange(2 * group))
    one, other = (HeldOutLoss(plan, part, torch.device("cpu"), 10, batch_size=1)(noise) for part in (short, whole))
    assert one == other
    assert HeldOutLoss(plan, Subset(source, torch.arange(group - 1)), torch.device("cpu"), 10)(noise) == {}
