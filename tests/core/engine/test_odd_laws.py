"""The laws of training for players without gradients, slots of a batch, several sources, groups and kept averages."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.engine.draws import Draws
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import OptimizerConfig, ParallelConfig, Plan, StageConfig, TrainingConfig
from maquette.core.errors import Interrupted, TrainingError
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Losses, Objective, Player, Stage, TransformedObjective
from maquette.core.testing.odd_toys import (
    Chains,
    Grouped,
    Mixture,
    chains_plan,
    grouped_plan,
    grouped_source,
    growing_plan,
    mixture_plan,
    mixture_source,
    plane_source,
    translation_plan,
    translation_sources,
)
from maquette.core.testing.training import (
    Crew,
    assert_processes_do_not_matter,
    assert_resume_equals_uninterrupted,
    rows,
)
from torch import nn

FLOAT64 = ParallelConfig(precision="float64")
CASES = {
    "mixture": (mixture_plan, mixture_source),
    "chains": (chains_plan, plane_source),
    "sources": (translation_plan, translation_sources),
    "groups": (grouped_plan, grouped_source),
    "growing": (growing_plan, plane_source),
}
cases = pytest.mark.parametrize("case", CASES)


@cases
def test_processes_do_not_matter(case: str, tmp_path: Path, crew: Crew) -> None:
    assert_processes_do_not_matter(*CASES[case], tmp_path, stop=8, crew=crew)


@cases
def test_resume_is_exact(case: str, tmp_path: Path) -> None:
    assert_resume_equals_uninterrupted(*CASES[case], tmp_path, stops=(3, 8))


@cases
def test_micro_batches_do_not_matter(case: str, tmp_path: Path) -> None:
    make_plan, make_source = CASES[case]
    for name, micro in (("one", None), ("many", 4)):
        fit(make_plan(FLOAT64, micro), make_source(), tmp_path / name, seed=3)
    for one, many in zip(rows(tmp_path / "one"), rows(tmp_path / "many"), strict=True):
        assert one["loss"] == pytest.approx(many["loss"], rel=1e-9)


def test_expectation_maximisation_finds_the_mixture(tmp_path: Path) -> None:
    plan = mixture_plan(FLOAT64)
    fit(plan, mixture_source(), tmp_path, seed=3)
    (mixture,) = plan.stages[0].players[0].networks
    assert isinstance(mixture, Mixture)
    x = mixture_source().x
    assert isinstance(x, torch.Tensor)
    parts = x[x < 0.5], x[x > 0.5]
    assert mixture.share.tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.05)
    assert mixture.mean.tolist() == pytest.approx([part.mean().item() for part in parts], abs=0.05)
    assert mixture.variance.tolist() == pytest.approx([part.var().item() for part in parts], abs=0.1)
    assert {row["lr"] for row in rows(tmp_path)} == {0.0}


def test_a_player_that_cannot_change_anything_is_refused(tmp_path: Path) -> None:
    network = nn.Linear(2, 3)
    stages = [Stage("fit", (Player("model", Grouped(network), (network,), gradient=False),))]
    with pytest.raises(TrainingError, match="nothing would change"):
        fit(TrainingConfig(batch_size=4).plan(stages), grouped_source(), tmp_path, seed=0)
    plan = TrainingConfig(stages={"fit": StageConfig(optimizers={"model": OptimizerConfig()})})
    with pytest.raises(TrainingError, match="needs an optimizer of kind=none"):
        fit(plan.plan([mixture_plan(FLOAT64).stages[0].stage]), mixture_source(), tmp_path, seed=0)


class Watching:
    """Keeps the chains as they are at each row."""

    def __init__(self, chains: torch.Tensor) -> None:
        self.chains, self.seen = chains, [chains.clone()]

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self.seen.append(self.chains.clone())

    def checkpoint(self, step: int) -> None:
        pass


def test_each_slot_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """A step moves the chains of its samples: all eleven, and one at the end of an epoch."""
    plan = chains_plan(FLOAT64)
    objective = plan.stages[0].players[0].objective.double()
    assert isinstance(objective, Chains)
    watching = Watching(objective.chains)
    fit(plan, plane_source(), tmp_path, seed=3, listeners=[watching])
    moved = [(after != before).any(1).tolist() for before, after in pairwise(watching.seen[:7])]
    assert moved == [[True] * 11] * 4 + [[True] + [False] * 10] + [[True] * 11]


def test_sources_are_drawn_independently_and_every_sample_equally_often() -> None:
    (stage,) = translation_plan(FLOAT64).stages
    draws = Draws(translation_sources(), stage, stage.players, seed=0)
    photos, followed, led = [], [], []
    for step in range(5 * 17):  # 17 epochs of photos
        alone, both = draws.draw(step, 0), draws.draw(step, 1)
        assert list(alone.rows) == ["paintings"]
        assert len(both.rows["photos"]) == len(both.rows["paintings"])
        photos.append(both.rows["photos"])
        followed.append(both.rows["paintings"])
        led.append(alone.rows["paintings"])
    assert torch.cat(photos).bincount().tolist() == [17] * 45
    assert torch.cat(followed).bincount().tolist() == [45] * 17
    assert torch.equal(torch.cat(led[:2]).sort().values, torch.arange(17))
    assert not torch.equal(photos[0] % 17, followed[0])


def test_players_must_read_sources_that_are_there(tmp_path: Path) -> None:
    sources = translation_sources()
    with pytest.raises(TrainingError, match=r'reads the source "paintings"; there are \[\'photos\'\]'):
        fit(translation_plan(FLOAT64), {"photos": sources["photos"]}, tmp_path, seed=0)
    with pytest.raises(TrainingError, match='reads the source "paintings"; there is one without a name'):
        fit(translation_plan(FLOAT64), sources["photos"], tmp_path, seed=0)
    with pytest.raises(TrainingError, match="must say which it reads"):
        fit(chains_plan(FLOAT64), sources, tmp_path, seed=0)
    with pytest.raises(TrainingError, match=r'source "songs" is read by no player; they read .*photos'):
        fit(translation_plan(FLOAT64), {**sources, "songs": plane_source()}, tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_a_batch_says_of_which_source_it_is_and_so_do_its_transforms() -> None:
    (stage,) = translation_plan(FLOAT64).stages
    seen = []

    class Watched(Objective):
        def forward(self, batch: Batch, noise: Noise) -> Losses:
            seen.append((batch.name, {name: other.name for name, other in batch.others.items()}))
            return Losses(torch.zeros(len(batch)))

    def encoded(batch: Batch, noise: Noise) -> Batch:
        return Batch({"photos": torch.zeros, "paintings": torch.ones}[batch.name](len(batch), 2), None, batch.index)

    draws = Draws(translation_sources(), stage, stage.players, seed=0)
    for turn in (0, 1):
        batch = draws.draw(0, turn).fetch(torch.arange(3))
        TransformedObjective(encoded, Watched())(batch, KeyedNoise(0, batch.index))
    assert seen == [("paintings", {}), ("photos", {"paintings": "paintings"})]


def test_groups_that_a_batch_would_cut_are_refused(tmp_path: Path) -> None:
    plan = grouped_plan(FLOAT64)
    with pytest.raises(TrainingError, match="multiples of that, found one of 9"):
        fit(plan, plane_source(), tmp_path / "uneven", seed=0)
    with pytest.raises(TrainingError, match="do not fit into micro-batches of 3"):
        fit(grouped_plan(FLOAT64, 3), grouped_source(), tmp_path / "small", seed=0)


def _weights(plan: Plan, stage: int) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in plan.stages[stage].players[0].networks[0].parameters()])


def test_averages_that_are_kept_aside_are_adopted_at_the_end_of_the_fit(tmp_path: Path) -> None:
    """The second stage goes on from the weights, and the fit ends with the averages of both stages."""
    found = {}
    for use in ("adopt", "aside"):
        plan = growing_plan(FLOAT64)
        again = {"averages": {"model": {"use": use}}}
        stages = {name: {**options.model_dump(), **again} for name, options in plan.training.stages.items()}
        training = TrainingConfig.model_validate({**plan.training.model_dump(), "stages": stages})
        plan = training.plan([stage.stage for stage in plan.stages])
        between = {}
        second = plan.stages[1].stage
        plan = training.plan(
            [
                plan.stages[0].stage,
                Stage(second.name, second.players, prepare=lambda p=plan, b=between: b.update(first=_weights(p, 0))),
            ]
        )
        fit(plan, plane_source(), tmp_path / use, seed=3)
        found[use] = between["first"], _weights(plan, 0), _weights(plan, 1)
    adopted, aside = found["adopt"], found["aside"]
    assert torch.equal(adopted[0], adopted[1])
    assert not torch.equal(aside[0], aside[1])
    assert torch.equal(aside[1], adopted[1])  # the average of the first stage
    assert not torch.equal(aside[2], adopted[2])  # the second one saw another first network


def test_players_without_an_average_end_with_their_weights(tmp_path: Path) -> None:
    ends = []
    for decay in (0.0, 0.8):
        plan = translation_plan(FLOAT64)
        training = plan.training.model_copy(update={"ema_decay": decay})
        plan = training.plan([plan.stages[0].stage])
        fit(plan, translation_sources(), tmp_path / str(decay), seed=3)
        ends.append(
            [torch.cat([p.flatten() for p in player.networks[0].parameters()]) for player in plan.stages[0].players]
        )
    (critic, translator), (critic_again, averaged) = ends
    assert torch.equal(critic, critic_again)
    assert not torch.equal(translator, averaged)


class Impatient:
    """Asks to stop at a row."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> bool:
        return row["step"] == self.step

    def checkpoint(self, step: int) -> None:
        pass


def test_a_listener_may_end_a_fit_which_can_go_on(tmp_path: Path) -> None:
    for folder, listeners in (("whole", []), ("parts", [Impatient(4)])):
        plan = growing_plan(FLOAT64)
        if listeners:
            with pytest.raises(Interrupted, match="A listener ended the fit after step 5"):
                fit(plan, plane_source(), tmp_path / folder, seed=3, listeners=listeners)
            plan = growing_plan(FLOAT64)
        fit(plan, plane_source(), tmp_path / folder, seed=3, resume=True)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
