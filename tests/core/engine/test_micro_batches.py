"""What a micro-batch costs: no reading of a tensor by the host, and one shape for compiled networks."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig
from maquette.core.testing.toys import denoiser_source, wasserstein_plan
from maquette.core.testing.training import rows
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Reads(TorchDispatchMode):
    """Counts how often the host reads a tensor, as `item`, `float` and `bool` do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_host_reads_nothing_for_a_micro_batch(tmp_path: Path) -> None:
    counts = []
    for micro in (None, 1):
        plan = wasserstein_plan(ParallelConfig(precision="float64"), micro)
        few = replace(plan, stages=tuple(replace(stage, steps=5) for stage in plan.stages))
        with Reads() as reads:
            fit(few, denoiser_source(), tmp_path / str(micro), seed=3)
        counts.append(reads.count)
    assert counts[0] == counts[1]
    assert counts[0] > 0  # of rows and of the check on a CPU


def test_compiled_networks_see_one_shape_and_losses_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda module: None)
    monkeypatch.setattr("maquette.core.engine.loop.compiled_draws", lambda enabled: nullcontext())
    shapes: dict[bool, set[Any]] = {}
    for compiled in (False, True):
        shapes[compiled] = set()
        plan = wasserstein_plan(ParallelConfig(precision="float64", compile=compiled), 4)
        plan.stages[0].players[1].networks[0].register_forward_hook(
            lambda module, inputs, output, seen=shapes[compiled]: seen.add(inputs[0].shape)
        )
        fit(plan, denoiser_source(), tmp_path / str(compiled), seed=3)
    assert shapes[True] == {torch.Size([4, 2])}
    assert len(shapes[False]) == 3
    for one, other in zip(rows(tmp_path / "False"), rows(tmp_path / "True"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-9)
