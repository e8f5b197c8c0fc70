"""What a step does: order, exact gradients, averages, schedules, optimisers, evaluation, budgets."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.engine import clock, optimizers, pace
from maquette.core.engine.batch_order import BatchOrder, split_batch
from maquette.core.engine.ema import ExponentialMovingAverage
from maquette.core.engine.evaluate import NoiseFactory
from maquette.core.engine.finite import FiniteCheck, NotFinite
from maquette.core.engine.loop import fit
from maquette.core.engine.losses import read_rows
from maquette.core.engine.pace import KEYS
from maquette.core.engine.parallel import World, shard
from maquette.core.engine.plan import OptimizerConfig, ParallelConfig, Plan, TrainingConfig
from maquette.core.engine.schedules import learning_rate
from maquette.core.engine.trainer import PlayerTrainer
from maquette.core.errors import ConfigError, TrainingError
from maquette.core.noise import Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.testing.toys import denoiser_plan, denoiser_source, wasserstein_plan
from torch import Tensor, nn

FLOAT64 = ParallelConfig(precision="float64")


class Weighted(Objective):
    """Least squares with the weights that lie beside the data."""

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
def test_processes_share_a_batch_without_loss_in_equally_many_pieces(n: int, size: int, micro: int | None) -> None:
    shares = [split_batch(torch.arange(n), rank, size, micro) for rank in range(size)]
    counted = [piece for pieces in shares for piece, counts in pieces if counts]
    assert torch.equal(torch.cat(counted), torch.arange(n))
    assert len({len(pieces) for pieces in shares}) == 1
    assert all(0 < len(piece) <= (micro or n) for pieces in shares for piece, _ in pieces)


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


def test_learning_rate_is_a_function_of_the_step() -> None:
    config = OptimizerConfig(lr=2.0, warmup=4, final=0.1)
    curve = [learning_rate(config, step, 21) for step in range(21)]
    assert curve[:4] == [0.5, 1.0, 1.5, 2.0]
    assert curve[4] == 2.0
    assert curve[12] == pytest.approx(0.5 * (2.0 + 0.2))  # half way down the cosine
    assert curve[20] == pytest.approx(0.2)
    assert learning_rate(OptimizerConfig(lr=2.0, schedule="constant"), 20, 21) == 2.0


def test_average_follows_its_recursion_and_is_lent_and_given_back() -> None:
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    ema_decay, expected = ExponentialMovingAverage([weight], 0.5), 1.0
    for count in range(30):
        with torch.no_grad():
            weight.fill_(count)
        ema_decay.update(count)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * count
    assert ema_decay.tensors[0].item() == pytest.approx(expected)
    with ema_decay.swapped():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == 29.0
    ema_decay.adopt()
    assert weight.item() == pytest.approx(expected)


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


def test_an_act_ends_with_its_averaged_weights(tmp_path: Path) -> None:
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
    """An evaluator that looks at a weight and draws a number."""

    every = 4

    def __init__(self, network: nn.Linear) -> None:
        self.network, self.modes = network, []

    def __call__(self, noise: NoiseFactory) -> Mapping[str, float]:
        self.modes.append((self.network.training, torch.is_grad_enabled()))
        return {"weight": self.network.weight[0, 0].item(), "draw": noise(torch.arange(3)).normal("z")[1].item()}


def test_evaluation_sees_averaged_weights_and_noise_of_its_own_and_changes_nothing(tmp_path: Path) -> None:
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
    figures = [row for row in rows(tmp_path / "with") if row["player"] == "evaluation"]
    assert [row["step"] for row in figures] == [4, 8, 10]
    assert len({row["draw"] for row in figures}) == 3
    assert figures[-1]["weight"] == results["with"][1][0, 0].item()  # what the stage ended with


class Heard:
    def __init__(self, file: Path) -> None:
        self.file, self.heard = file, []

    def stage(self, name: str, steps: int) -> None:
        self.heard.append((name, steps))

    def row(self, row: Mapping[str, Any]) -> None:
        assert json.loads(self.file.read_text().splitlines()[-1]) == row
        self.heard.append(row["step"])

    def checkpoint(self, step: int) -> None:
        self.heard.append(f"saved {step}")


def test_listeners_hear_of_rows_that_are_on_disk(tmp_path: Path) -> None:
    heard = Heard(tmp_path / "losses.jsonl")
    plan = line_plan(nn.Linear(3, 1), steps=7, log_every=3, checkpoint={"every": 5})
    fit(plan, line_source(), tmp_path, seed=0, listeners=[heard])
    assert heard.heard == [("fit", 7), 3, "saved 5", 6, 7, "saved 7"]


def test_time_is_shared_by_steps_and_its_end_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr(clock.time, "monotonic", lambda: float(next(now)))
    plan = denoiser_plan(FLOAT64)
    plan = Plan(plan.stages, plan.training.model_copy(update={"max_minutes": 1.0}))  # each look costs a second
    outcome = fit(plan, denoiser_source(), tmp_path, seed=3)
    assert list(outcome.steps) == ["fit", "halve"]
    assert all(5 < steps < 25 for steps in outcome.steps.values())
    assert [rows(tmp_path)[-1]["stage"], rows(tmp_path)[-1]["step"]] == ["halve", outcome.steps["halve"]]
    written = read_rows(tmp_path / "losses.jsonl")
    unlimited = denoiser_plan(FLOAT64)
    assert fit(unlimited, denoiser_source(), tmp_path, seed=3, resume=True).steps == outcome.steps
    assert read_rows(tmp_path / "losses.jsonl") == written


def test_parameters_outside_a_role_never_move_and_flags_are_given_back(tmp_path: Path) -> None:
    plan = denoiser_plan(FLOAT64)
    student_role = plan.stages[1].stage.players[0]
    fit(Plan((plan.stages[1],), plan.training), denoiser_source(), tmp_path, seed=3)
    teacher = student_role.objective.get_submodule("teacher")
    assert all(
        torch.equal(a, b.double())
        for a, b in zip(teacher.parameters(), _teacher(denoiser_plan(FLOAT64)).parameters(), strict=True)
    )
    assert all(parameter.requires_grad for parameter in student_role.objective.parameters())


def _teacher(plan: Plan) -> nn.Module:
    return plan.stages[1].stage.players[0].objective.get_submodule("teacher")


def test_bfloat16_keeps_master_weights_and_learns(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 1))
    options = {"steps": 40, "parallel": ParallelConfig(precision="bfloat16"), "optimizer": OptimizerConfig(lr=0.03)}
    fit(line_plan(network, **options), line_source(), tmp_path, seed=0)
    assert network[0].weight.dtype == torch.float32
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def test_networks_without_double_backward_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    plan = wasserstein_plan(ParallelConfig(precision="float64", compile=True))
    fit(Plan(plan.stages, plan.training), denoiser_source(), tmp_path, seed=3)
    assert compiled == list(plan.stages[0].players[1].networks)


def test_an_accelerator_notes_the_first_fault_and_is_asked_later() -> None:
    finite = FiniteCheck("here", torch.device("cpu"), World())
    finite.immediate = False
    for step, loss in ((1, 0.5), (2, float("nan")), (3, float("inf")), (4, 0.5)):
        finite.check(step, torch.tensor(loss), torch.tensor(1.0), [], changed=False)
    with pytest.raises(NotFinite, match="here, step 2: ") as caught:
        finite.raise_pending()
    assert caught.value.weights_changed


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
def test_other_faults_are_told_apart(fault: str, message: str, tmp_path: Path) -> None:
    network = nn.Linear(3, 1)
    plan = TrainingConfig(parallel=FLOAT64).plan([Stage("fit", (Player("model", Broken(network, fault), (network,)),))])
    with pytest.raises(TrainingError, match=message):
        fit(plan, line_source(), tmp_path, seed=0)


class Sidestepping(Objective):
    """Holds its network where torch does not see it."""

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
    refused(TrainingConfig().plan(_player_plan(Sidestepping(network), network)), "must hold the networks")
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


def test_layouts_that_cannot_work_are_refused_before_anything_is_cut() -> None:
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


def test_rows_say_how_fast_the_fit_is_and_what_it_takes(tmp_path: Path) -> None:
    fit(line_plan(nn.Linear(3, 1), steps=4, batch_size=20), line_source(), tmp_path, seed=0)
    found = read_rows(tmp_path / "losses.jsonl")
    assert all(set(KEYS) <= set(row) for row in found)
    assert all(row["samples_per_second"] > 0 and row["memory_gb"] > 0.01 for row in found)
    assert [row["seconds_left"] for row in found][-1] == 0
    assert all(not set(KEYS) & set(row) for row in read_rows(tmp_path / "losses.jsonl", pace=False))


def test_pace_counts_samples_since_the_last_row_and_ends_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    measured = pace.Pace(10, 30, torch.device("cpu"), seconds=50.0)
    measured.add("critic", 40)
    measured.add("critic", 40)
    now = 104.0
    figures = measured.measure("critic", 12)
    assert (figures["samples_per_second"], figures["seconds_left"]) == (20.0, 36.0)  # 18 steps of 2 seconds
    measured.add("critic", 10)
    now = 105.0
    assert measured.measure("critic", 12)["samples_per_second"] == 10.0
    now = 140.0
    assert measured.measure("critic", 12)["seconds_left"] == 10.0  # of the budget


@pytest.mark.parametrize(("kind", "decoupled"), [("adamw", True), ("adam", False)])
def test_weight_decay_is_decoupled_from_the_gradient_in_adamw_alone(kind: str, decoupled: bool) -> None:
    """A weight without gradient shrinks by lr x decay (arXiv:1711.05101); under Adam it takes a whole step."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = optimizers.build(OptimizerConfig(kind=kind, lr=0.1, weight_decay=0.5), [weight])
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight.item() == pytest.approx(0.95 if decoupled else 0.9, abs=1e-6)
