"""The laws of training hold for the engine's own toys: one player, several acts, and two adversaries."""

from pathlib import Path

import pytest
from maquette.core.testing.toys import denoiser_plan, denoiser_source, wasserstein_plan
from maquette.core.testing.training import (
    KINDS,
    Crew,
    assert_reshard,
    assert_resume_equals_uninterrupted,
    assert_world_size_does_not_matter,
)
from maquette.core.testing.worker import MakePlan

both_plans = pytest.mark.parametrize("plan", [denoiser_plan, wasserstein_plan])


@both_plans
def test_two_processes_give_the_curve_of_one(plan: MakePlan, tmp_path: Path, crew: Crew) -> None:
    assert_world_size_does_not_matter(plan, denoiser_source, tmp_path, crew=crew)


@both_plans
def test_state_saved_by_two_processes_goes_on_with_one(plan: MakePlan, tmp_path: Path, crew: Crew) -> None:
    assert_reshard(plan, denoiser_source, tmp_path, stop=33, crew=crew)


@both_plans
def test_resumed_fit_ends_bit_for_bit_as_a_whole_one(plan: MakePlan, tmp_path: Path) -> None:
    assert_resume_equals_uninterrupted(plan, denoiser_source, tmp_path, stops=(1, 7, 24, 30, 48))


@pytest.mark.parametrize("kind", KINDS)
def test_resume_is_exact_on_two_processes(kind: str, tmp_path: Path, crew: Crew) -> None:
    assert_resume_equals_uninterrupted(denoiser_plan, denoiser_source, tmp_path, stops=(8, 33), crew=crew, kind=kind)
