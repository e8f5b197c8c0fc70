"""Every registered family trains on the engine, the same for any micro-batch and any number of processes."""

import json

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig, TrainingConfig
from maquette.core.families import families
from maquette.core.families.gan.gan import GANConfig
from maquette.core.families.gan.losses import Hinge, LeastSquares, Wasserstein, WassersteinGP
from maquette.core.nets.residual import ResidualConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw
from maquette.core.testing.cases import STEPS, steps_of, training_case
from maquette.core.testing.cover import largest, smallest
from maquette.core.testing.training import assert_processes_do_not_matter, assert_world_size_does_not_matter


def losses(config, folder, micro_batch):
    space, condition = largest(config)
    source = TensorSource(draw(space, 40, seed=1), None if condition is None else draw(condition, 40, seed=2))
    torch.manual_seed(0)
    model = config.build(space, condition)
    training = TrainingConfig(
        steps=4,
        batch_size=16,
        micro_batch=micro_batch,
        ema_decay=0.5,
        log_every=1,
        parallel=ParallelConfig(precision="float64"),
    )
    stages = model.stages()
    fit(training.plan(stages), source, folder, seed=0)
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * sum(len(stage.players) for stage in stages)
    return torch.tensor([row["loss"] for row in rows], dtype=torch.float64), model.state_dict()


@pytest.mark.parametrize(
    "name", [name for name, config in families.items() if config.__module__.startswith("maquette.")]
)
def test_micro_batches_change_nothing(name, tmp_path):
    config = families.get(name).example()
    whole, weights = losses(config, tmp_path / "whole", None)
    cut, again = losses(config, tmp_path / "cut", 5)
    assert whole.isfinite().all()
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-12)
    for tensor_name, tensor in weights.items():
        torch.testing.assert_close(again[tensor_name], tensor, rtol=1e-7, atol=1e-9, msg=tensor_name)


@pytest.mark.parametrize(
    "name", [name for name, config in families.items() if config.__module__.startswith("maquette.")]
)
def test_processes_change_nothing(name, tmp_path, crew):
    config = families.get(name).example()
    space, condition = smallest(config)  # what is summed and cut here are gradients, weights and state
    stages = config.build(space, condition).stages()
    if any(player.objective.coupled for stage in stages for player in stage.players):
        pytest.skip("its losses couple the samples of a batch, which several processes would cut apart")
    steps = steps_of(stages)
    stop = (len(stages) - 1) * steps + steps // 2  # in the midst of the last stage
    assert_processes_do_not_matter(*training_case(config, space, condition), tmp_path, stop=stop, crew=crew)


def adversaries(loss, **options):
    net = ResidualConfig(width=8, depth=1)
    return training_case(GANConfig(generator=net, critic=net, loss=loss, **options), Vector(dim=2), Vector(dim=1))


@pytest.mark.parametrize(
    "loss",
    [LeastSquares(), Hinge(), Wasserstein(clip=0.05), WassersteinGP()],  # the family's example has the fifth
    ids=lambda loss: loss.kind,
)
def test_processes_change_nothing_for_adversaries(loss, tmp_path, crew):
    """Clipping and spectral norms stage on shards of the critic's weights, penalties differentiate through them."""
    assert_processes_do_not_matter(
        *adversaries(loss, spectral_norm=loss.kind == "hinge"), tmp_path, stop=STEPS // 2, crew=crew
    )


def test_sharded_processes_give_the_whole_curve_of_wgan_gp(tmp_path, crew):
    case = adversaries(WassersteinGP(), n_critic=2)
    assert_world_size_does_not_matter(*case, tmp_path, crew=crew, kinds=("fsdp",))
