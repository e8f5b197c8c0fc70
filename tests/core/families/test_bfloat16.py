"""With bfloat16 only networks compute in it: likelihoods, KL terms and codebooks stay in float32."""

import json

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig, TrainingConfig
from maquette.core.families import families
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.likelihoods import likelihoods
from maquette.core.spaces import Binary, Interval, Levels, Real, Vector
from maquette.core.testing.bench import draw
from maquette.core.testing.cover import largest

SUPPORTS = (Real(), Interval(low=-1.0, high=3.0), Binary(), Levels(count=5))
NAMES = [name for name, family in families.items() if family.__module__.split(".")[-2] in ("autoregressive", "vae")]
LIKELIHOODS = {
    f"{config.kind}-{name}": (config.model_copy(update={"likelihood": likelihood()}), Vector(dim=2, support=support))
    for config in (MADEConfig.example(), VAEConfig.example())
    for name, likelihood in likelihoods.items()
    for support in SUPPORTS
    if isinstance(support, likelihood.supports)
}


def losses(config, space, condition, folder):
    """Losses of all steps and stages of a short fit; objectives return all of them in float32."""
    torch.manual_seed(0)
    stages = config.build(space, condition).stages()
    dtypes = set()
    for stage in stages:
        for player in stage.players:
            player.objective.register_forward_hook(lambda *call: dtypes.add(call[-1].losses.dtype))
    training = TrainingConfig(
        steps=2, batch_size=8, ema_decay=0.5, log_every=1, parallel=ParallelConfig(precision="bfloat16")
    )
    source = TensorSource(draw(space, 16, seed=1), None if condition is None else draw(condition, 16, seed=2))
    fit(training.plan(stages), source, folder, seed=0)
    assert dtypes == {torch.float32}
    return torch.tensor([json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()])


@pytest.mark.parametrize("name", NAMES)
def test_every_family_trains(name, tmp_path):
    config = families.get(name).example()
    assert losses(config, *largest(config), tmp_path).isfinite().all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_trains(name, tmp_path):
    config, space = LIKELIHOODS[name]
    assert losses(config, space, None, tmp_path).isfinite().all()
