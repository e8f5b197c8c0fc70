"""Every registered family trains on the engine, and the same whether its batches are cut or whole."""

import json

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig, TrainingConfig
from maquette.core.families import families
from maquette.core.testing.laws import cases, draw


def losses(config, folder, micro_batch):
    space, condition = cases(config)[-1]
    source = TensorSource(draw(space, 40, seed=1), None if condition is None else draw(condition, 40, seed=2))
    torch.manual_seed(0)
    model = config.build(space, condition)
    training = TrainingConfig(
        steps=4,
        batch_size=16,
        micro_batch=micro_batch,
        average=0.5,
        log_every=1,
        parallel=ParallelConfig(precision="float64"),
    )
    acts = model.acts()
    fit(training.plan(acts), source, folder, seed=0)
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * sum(len(act.roles) for act in acts)
    return torch.tensor([row["loss"] for row in rows], dtype=torch.float64), model.state_dict()


@pytest.mark.parametrize("name", [name for name, _ in families.items()])
def test_micro_batches_change_nothing(name, tmp_path):
    config = families.get(name).example()
    whole, weights = losses(config, tmp_path / "whole", None)
    cut, again = losses(config, tmp_path / "cut", 5)
    assert whole.isfinite().all()
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-12)
    for tensor_name, tensor in weights.items():
        torch.testing.assert_close(again[tensor_name], tensor, rtol=1e-7, atol=1e-9, msg=tensor_name)
