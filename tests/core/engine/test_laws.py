"""The laws of training hold for the engine's own toys: one trainer, several stages, and two adversaries."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from maquette.core.engine.plan import ParallelConfig, Plan, TrainingConfig
from maquette.core.objective import Player, Stage
from maquette.core.testing.toys import Denoising, denoiser_plan, denoiser_source, wasserstein_plan
from maquette.core.testing.training import (
    KINDS,
    Crew,
    assert_reshard,
    assert_resume_equals_uninterrupted,
    assert_world_size_does_not_matter,
)
from maquette.core.testing.worker import MakePlan
from torch import Tensor, nn

both_plans = pytest.mark.parametrize("plan", [denoiser_plan, wasserstein_plan])


@both_plans
def test_two_processes_give_the_curve_of_one(plan: MakePlan, tmp_path: Path, crew: Crew) -> None:
    assert_world_size_does_not_matter(plan, denoiser_source, tmp_path, crew=crew)


@both_plans
def test_a_fit_goes_on_with_fewer_processes_or_more(plan: MakePlan, tmp_path: Path, crew: Crew) -> None:
    assert_reshard(plan, denoiser_source, tmp_path, stop=28, crew=crew)


@pytest.mark.parametrize(("plan", "stops"), [(denoiser_plan, (1, 7, 24, 30, 48)), (wasserstein_plan, (1, 7, 24, 28))])
def test_resumed_fit_ends_bit_for_bit_as_a_whole_one(plan: MakePlan, stops: Sequence[int], tmp_path: Path) -> None:
    assert_resume_equals_uninterrupted(plan, denoiser_source, tmp_path, stops=stops)


@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact_on_two_processes(kind: str, tmp_path: Path, crew: Crew) -> None:
    assert_resume_equals_uninterrupted(denoiser_plan, denoiser_source, tmp_path, stops=(8, 33), crew=crew, kind=kind)


class Shuffled(nn.Module):
    """Layers that are used in another order than they are registered in, which DDP learns in its first backward."""

    def __init__(self) -> None:
        super().__init__()
        self.third, self.first, self.fourth, self.second = (
            nn.Linear(*sizes) for sizes in ((40, 30), (3, 30), (30, 3), (30, 40))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fourth(self.third(self.second(self.first(x).sin()).sin()).sin())


def shuffled_plan(parallel: ParallelConfig) -> Plan:
    torch.manual_seed(1)
    network = Shuffled()
    training = TrainingConfig(steps=15, batch_size=11, log_every=1, parallel=parallel)
    return training.plan([Stage("fit", (Player("model", Denoising(network), (network,)),))])


def test_resume_is_exact_on_three_processes_where_the_order_of_sums_matters(tmp_path: Path) -> None:
    with Crew(3) as crew:
        assert_resume_equals_uninterrupted(shuffled_plan, denoiser_source, tmp_path, stops=(6,), crew=crew)
