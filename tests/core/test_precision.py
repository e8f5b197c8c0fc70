"""Precision is that of products inside the context, and what it was before afterwards."""

import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig, TrainingConfig
from maquette.core.families.flows.linear import LinearConfig
from maquette.core.precision import all_digits, at_least_single, computing, tensor_float_32
from maquette.core.spaces import Vector


def test_only_a_gpu_gets_tf32_and_only_inside():
    with tensor_float_32("cuda:1"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"
    with computing("tf32", "cpu"), tensor_float_32("cuda", enabled=False):
        assert torch.get_float32_matmul_precision() == "highest"


def test_what_needs_all_digits_has_them_and_samples_are_single():
    factor = torch.full((1, 1), 1 + 2.0**-12)
    with computing("bfloat16", "cpu"):
        assert (factor @ factor).item() == 1
        assert at_least_single(factor @ factor).dtype == torch.float32
        with all_digits():
            assert (factor @ factor).item() > 1


def test_a_fit_with_tf32_is_one_in_float32_on_a_cpu(tmp_path):
    data = TensorSource(torch.randn(50, 2))
    weights = []
    for precision in ("float32", "tf32"):
        torch.manual_seed(0)
        flow = LinearConfig().build(Vector(dim=2))
        training = TrainingConfig(steps=4, batch_size=8, parallel=ParallelConfig(precision=precision))
        fit(training.plan(flow.stages()), data, tmp_path / precision, seed=0)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in flow.parameters()]))
        assert weights[-1].dtype == torch.float32
    assert torch.equal(*weights)
