"""The loss on held-out samples: a weighted mean over all of them, for every player that needs no gradients."""

import pytest
import torch
from maquette.core.engine.evaluate import HeldOutLoss
from maquette.core.engine.plan import ParallelConfig
from maquette.core.noise import KeyedNoise
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
