"""What a fit does: exact gradients, averaged weights, evaluation, budgets, rows, and plans that it refuses."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.engine import clock
from maquette.core.engine.evaluate import NoiseFactory
from maquette.core.engine.loop import fit
from maquette.core.engine.losses import read_rows
from maquette.core.engine.pace import KEYS
from maquette.core.engine.parallel import shard
from maquette.core.engine.plan import OptimizerConfig, ParallelConfig, Plan, TrainingConfig
from maquette.core.engine.trainer import PlayerTrainer
from maquette.core.engine.world import World
from maquette.core.errors import ConfigError, TrainingError
from maquette.core.noise import Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.philox import fractions, uniforms
from maquette.core.testing.toys import denoiser_plan, denoiser_source, wasserstein_plan
from torch import Tensor, nn

FLOAT64 = ParallelConfig(precision="float64")


class Weighted(Objective):
    """Least squares, weighted by a part of the data."""

    def __init__(self, network: nn.Module, *, coupled: bool = False) -> None:
        super().__init__()
        self.network, self.coupled = network, coupled

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, dict)
        residual = self.network(batch.x["x"]).squeeze(1) - batch.x["y"]
        return Losses(residual.square(), batch.x["weight"])


def line_source(n: int = 40) -> TensorSource:
    """Points on y = x . (1, -2, 0.5) + 3, with uneven weights."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    weight = torch.rand(n, generator=generator, dtype=torch.float64)
    return TensorSource({"x": x, "y": x @ x.new_tensor([1.0, -2.0, 0.5]) + 3, "weight": weight})


def line_plan(network: nn.Module, *, coupled: bool = False, **options: Any) -> Plan:
    options = {"steps": 1, "batch_size": 40, "log_every": 1, "parallel": FLOAT64, **options}
    player = Player("model", Weighted(network, coupled=coupled), (network,))
    return TrainingConfig(**options).plan([Stage("fit", (player,))])


def rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "losses.jsonl", pace=False)


@pytest.mark.parametrize("micro", [None, 7])
def test_the_gradient_is_that_of_the_global_weighted_mean(micro: int | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 1).double()
    source = line_source()
    assert isinstance(source.x, dict)
    residual = network(source.x["x"]).squeeze(1) - source.x["y"]
    loss = (source.x["weight"] * residual.square()).sum() / source.x["weight"].sum()
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    expected = [weight - 0.1 * slope for weight, slope in zip(network.parameters(), slopes, strict=True)]
    optimizer = OptimizerConfig(kind="sgd", lr=0.1)
    fit(line_plan(network, micro_batch=micro, optimizer=optimizer), source, tmp_path, seed=0)
    for weight, value in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, value, rtol=1e-12, atol=1e-14)
    assert rows(tmp_path)[0]["loss"] == pytest.approx(loss.item(), rel=1e-12)


@pytest.mark.parametrize("make", [denoiser_plan, wasserstein_plan])
def test_accumulation_equals_one_batch(make: Callable[..., Plan], tmp_path: Path) -> None:
    for name, micro in (("one", None), ("many", 2)):
        fit(make(FLOAT64, micro), denoiser_source(), tmp_path / name, seed=3)
    for one, many in zip(rows(tmp_path / "one"), rows(tmp_path / "many"), strict=True):
        assert one["loss"] == pytest.approx(many["loss"], rel=1e-9)


def test_clipping_bounds_the_step(tmp_path: Path) -> None:
    network = nn.Linear(3, 1).double()
    before = torch.cat([weight.detach().flatten() for weight in network.parameters()]).clone()
    fit(line_plan(network, optimizer=OptimizerConfig(kind="sgd", lr=1.0, clip=1e-3)), line_source(), tmp_path, seed=0)
    after = torch.cat([weight.detach().flatten() for weight in network.parameters()])
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_lbfgs_finds_the_line_and_resumes_exactly(tmp_path: Path) -> None:
    options = {"steps": 6, "optimizer": OptimizerConfig(kind="lbfgs", lr=1.0, schedule="constant")}
    networks = []
    for name, every in (("whole", 500), ("parts", 2)):
        torch.manual_seed(0)
        networks.append(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)))
        plan = line_plan(networks[-1], checkpoint={"every": every, "keep": 9}, **options)
        fit(plan, line_source(), tmp_path / name, seed=0)
    checkpoints = tmp_path / "parts" / "checkpoints"
    for late in ("step-00000004", "step-00000006"):
        for file in (checkpoints / late).iterdir():
            file.unlink()
        (checkpoints / late).rmdir()
    again = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    fit(line_plan(again, **options), line_source(), tmp_path / "parts", seed=0, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(networks[0].parameters(), again.parameters(), strict=True))
    losses = [row["loss"] for row in rows(tmp_path / "whole")]
    assert losses[-1] < 0.05 * losses[0]


class Recording:
    """Keeps a network's weight as it is at each row."""

    def __init__(self, network: nn.Linear) -> None:
        self.network, self.weights = network, [network.weight.detach().clone()]

    def stage(self, name: str, steps: int) -> None:
        pass

    def row(self, row: Mapping[str, Any]) -> None:
        self.weights.append(self.network.weight.detach().clone())

    def checkpoint(self, step: int) -> None:
        pass


def test_a_stage_ends_with_its_averaged_weights(tmp_path: Path) -> None:
    network = nn.Linear(3, 1).double()
    recording = Recording(network)
    plan = line_plan(network, steps=30, ema_decay=0.6, optimizer=OptimizerConfig(lr=0.1))
    fit(plan, line_source(), tmp_path, seed=0, listeners=[recording])
    expected = recording.weights[0]
    for count, weight in enumerate(recording.weights[1:]):
        decay = min(0.6, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(network.weight.detach(), expected)
    assert not torch.allclose(network.weight, recording.weights[-1])


class Peek:
    """An evaluator that returns a weight and a draw."""

    every = 4

    def __init__(self, network: nn.Linear) -> None:
        self.network, self.modes = network, []

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        self.modes.append((self.network.training, torch.is_grad_enabled()))
        return {"weight": self.network.weight[0, 0].item(), "draw": noise(torch.arange(3)).normal("z")[1].item()}


def test_evaluation_uses_averaged_weights_and_its_own_noise_and_changes_nothing(tmp_path: Path) -> None:
    results = {}
    for name in ("with", "without"):
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        evaluator = Peek(network) if name == "with" else None
        plan = line_plan(network, steps=10, ema_decay=0.9, optimizer=OptimizerConfig(lr=0.1))
        fit(plan, line_source(), tmp_path / name, seed=0, evaluator=evaluator)
        results[name] = [row for row in rows(tmp_path / name) if row["player"] == "model"], network.weight.clone()
        if evaluator is not None:
            assert evaluator.modes == [(False, False)] * 3
            assert network.training
    assert results["with"][0] == results["without"][0]
    assert torch.equal(results["with"][1], results["without"][1])
    evaluations = [row for row in rows(tmp_path / "with") if row["player"] == "evaluation"]
    assert [row["step"] for row in evaluations] == [4, 8, 10]
    assert len({row["draw"] for row in evaluations}) == 3
    assert evaluations[-1]["weight"] == results["with"][1][0, 0].item()  # what the stage ended with


class Heard:
    """Keeps what a listener is called with."""

    def __init__(self, file: Path) -> None:
        self.file, self.heard = file, []

    def stage(self, name: str, steps: int) -> None:
        self.heard.append((name, steps))

    def row(self, row: Mapping[str, Any]) -> None:
        assert json.loads(self.file.read_text().splitlines()[-1]) == row
        self.heard.append(row["step"])

    def checkpoint(self, step: int) -> None:
        self.heard.append(f"saved {step}")


def test_listeners_get_rows_that_are_on_disk(tmp_path: Path) -> None:
    heard = Heard(tmp_path / "losses.jsonl")
    plan = line_plan(nn.Linear(3, 1), steps=7, log_every=3, checkpoint={"every": 5})
    fit(plan, line_source(), tmp_path, seed=0, listeners=[heard])
    assert heard.heard == [("fit", 7), 3, "saved 5", 6, 7, "saved 7"]


def test_time_is_divided_by_steps_and_not_extended_by_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr(clock.time, "monotonic", lambda: float(next(now)))
    plan = denoiser_plan(FLOAT64)
    plan = Plan(plan.stages, plan.training.model_copy(update={"max_minutes": 1.0}))  # the clock ticks at each call
    outcome = fit(plan, denoiser_source(), tmp_path, seed=3)
    assert list(outcome.steps) == ["fit", "halve"]
    assert all(5 < steps < 25 for steps in outcome.steps.values())
    assert [rows(tmp_path)[-1]["stage"], rows(tmp_path)[-1]["step"]] == ["halve", outcome.steps["halve"]]
    written = read_rows(tmp_path / "losses.jsonl")
    unlimited = denoiser_plan(FLOAT64)
    assert fit(unlimited, denoiser_source(), tmp_path, seed=3, resume=True).steps == outcome.steps
    assert read_rows(tmp_path / "losses.jsonl") == written


def test_parameters_of_no_player_never_change_and_requires_grad_is_restored(tmp_path: Path) -> None:
    plan = denoiser_plan(FLOAT64)
    student = plan.stages[1].stage.players[0]
    fit(Plan((plan.stages[1],), plan.training), denoiser_source(), tmp_path, seed=3)
    teacher = student.objective.get_submodule("teacher")
    assert all(
        torch.equal(a, b.double())
        for a, b in zip(teacher.parameters(), _teacher(denoiser_plan(FLOAT64)).parameters(), strict=True)
    )
    assert all(parameter.requires_grad for parameter in student.objective.parameters())


def _teacher(plan: Plan) -> nn.Module:
    return plan.stages[1].stage.players[0].objective.get_submodule("teacher")


def test_bfloat16_keeps_master_weights_and_learns(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 1))
    options = {"steps": 40, "parallel": ParallelConfig(precision="bfloat16"), "optimizer": OptimizerConfig(lr=0.03)}
    fit(line_plan(network, **options), line_source(), tmp_path, seed=0)
    assert network[0].weight.dtype == torch.float32
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def test_networks_without_double_backward_are_compiled_and_draws_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    draws: list[Any] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    for draw in (fractions, uniforms):
        monkeypatch.setattr(draw, "compile", lambda function, dynamic: draws.append(function) or function)
        monkeypatch.setattr(draw, "_compiled", None)
    plan = wasserstein_plan(ParallelConfig(precision="float64", compile=True))
    fit(Plan(plan.stages, plan.training), denoiser_source(), tmp_path, seed=3)
    assert compiled == list(plan.stages[0].players[1].networks)
    assert set(draws) == {uniforms.function, fractions.function}


class Broken(Weighted):
    """Finite losses with a gradient that is not, or weights that sum to zero."""

    def __init__(self, network: nn.Module, fault: str) -> None:
        super().__init__(network)
        self.fault = fault

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        out = super().forward(batch, noise)
        if self.fault == "weights":
            return Losses(out.losses, torch.zeros_like(out.losses))
        return Losses(out.losses + (0 * out.losses).sqrt())


@pytest.mark.parametrize(("fault", "message"), [("gradient", "gradient is not finite"), ("weights", "sum to zero")])
def test_errors_distinguish_bad_gradients_from_zero_weights(fault: str, message: str, tmp_path: Path) -> None:
    network = nn.Linear(3, 1)
    plan = TrainingConfig(parallel=FLOAT64).plan([Stage("fit", (Player("model", Broken(network, fault), (network,)),))])
    with pytest.raises(TrainingError, match=message):
        fit(plan, line_source(), tmp_path, seed=0)


class Unregistered(Objective):
    """Holds its network in a list, which hides it from torch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.hidden = [network]

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, dict)
        return Losses(self.hidden[0](batch.x["x"]).squeeze(1))


def _player_plan(objective: Objective, *networks: nn.Module) -> list[Stage]:
    return [Stage("fit", (Player("model", objective, networks),))]


def test_plans_that_cannot_work_are_refused_in_a_sentence(tmp_path: Path) -> None:
    network = nn.Linear(3, 1)

    def refused(plan: Plan, message: str, source: Any = None) -> None:
        with pytest.raises(TrainingError, match=message):
            fit(plan, line_source() if source is None else source, tmp_path, seed=0)

    refused(line_plan(network, coupled=True, micro_batch=7), r"couples the samples.*cannot be split")
    refused(line_plan(network), "no samples", TensorSource(torch.zeros(0, 3)))
    refused(TrainingConfig().plan(_player_plan(Unregistered(network), network)), "must hold the networks")
    refused(TrainingConfig().plan(_player_plan(Weighted(nn.Identity()), nn.Identity())), "no parameters")
    with pytest.raises(ConfigError, match=r'has no stage "fitt"\. Did you mean "fit"'):
        TrainingConfig.model_validate({"stages": {"fitt": {}}}).plan(_player_plan(Weighted(network), network))
    assert not (tmp_path / "checkpoints").exists()


class Nested(nn.Module):
    """A network within a network."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.outer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


def test_layouts_that_cannot_work_are_refused_before_anything_is_sharded() -> None:
    network, device, two = Nested(), torch.device("cpu"), World(0, 2)
    cut = ParallelConfig(kind="fsdp")
    objective = Weighted(network)
    objective.double_backward = True
    with pytest.raises(TrainingError, match="has a network within another one, which FSDP cannot unshard"):
        shard(TrainingConfig(parallel=cut).plan(_player_plan(objective, network, network.inner)), two, device)
    whole_gradients = TrainingConfig(parallel=cut, optimizer=OptimizerConfig(kind="lbfgs"))
    with pytest.raises(TrainingError, match="lbfgs needs whole gradients"):
        shard(whole_gradients.plan(_player_plan(Weighted(network), network)), two, device)
    coupled = line_plan(nn.Linear(3, 1), coupled=True)
    with pytest.raises(TrainingError, match="which 2 processes would cut apart"):
        PlayerTrainer(coupled.stages[0], coupled.stages[0].players[0], coupled, two, device, 0)
    assert shard(TrainingConfig(parallel=cut).plan(_player_plan(objective, network)), World(), device) == []


def test_rows_hold_speed_and_memory(tmp_path: Path) -> None:
    fit(line_plan(nn.Linear(3, 1), steps=4, batch_size=20), line_source(), tmp_path, seed=0)
    found = read_rows(tmp_path / "losses.jsonl")
    assert all(set(KEYS) <= set(row) for row in found)
    assert all(row["samples_per_second"] > 0 and row["memory_gb"] > 0.01 for row in found)
    assert [row["seconds_left"] for row in found][-1] == 0
    assert all(not set(KEYS) & set(row) for row in read_rows(tmp_path / "losses.jsonl", pace=False))
