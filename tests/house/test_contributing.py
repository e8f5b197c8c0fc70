"""The family that CONTRIBUTING.md shows is a whole one: it registers, keeps its laws and can be fitted."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import OptimizerConfig, TrainingConfig
from maquette.core.families import FamilyConfig, families
from maquette.core.spaces import Vector
from maquette.core.testing.laws import LAWS, owed

NAME = "maquette.core.families.gaussian"


@pytest.fixture(scope="module")
def gaussian(root) -> Iterator[type[FamilyConfig]]:
    """The config of the page's family, registered while the module's tests run."""
    (source,) = re.findall(
        r"^```python\n(.*?)^```", (root / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    families.names()  # the walk over the package comes first
    module = ModuleType(NAME)
    module.__package__ = NAME.rpartition(".")[0]
    sys.modules[NAME] = module
    exec(compile(source, "CONTRIBUTING.md", "exec"), vars(module))
    yield families.get("gaussian")
    del sys.modules[NAME], families._members["gaussian"]


def test_it_keeps_its_laws(gaussian):
    found = owed(gaussian())
    assert {"log-prob", "normalised", "sample-density", "purity"} <= {law for law, *_ in found}
    for law, space, condition in found:
        LAWS[law].check(gaussian(), space, condition)


def test_it_finds_a_linear_gaussian(gaussian, tmp_path):
    draws = torch.Generator().manual_seed(0)
    condition, noise = (torch.randn(2000, 2, generator=draws) for _ in range(2))
    factor, slope = torch.tensor([[1.0, 0.0], [0.8, 0.6]]), torch.tensor([[0.5, 0.0], [-1.0, 2.0]])
    x = condition @ slope.T + noise @ factor.T
    torch.manual_seed(0)
    model = gaussian().build(Vector(dim=2), Vector(dim=2))
    training = TrainingConfig(steps=20, batch_size=2000, optimizer=OptimizerConfig(kind="lbfgs", lr=1.0))
    fit(training.plan(model.stages()), TensorSource(x, condition), tmp_path, seed=0)
    # least squares is the optimum in closed form
    columns = torch.cat((condition, torch.ones(2000, 1)), dim=1)
    best = torch.linalg.lstsq(columns, x).solution
    residual = x - columns @ best
    torch.testing.assert_close(model.mean.weight.data, best[:2].T, atol=2e-3, rtol=0)
    found = model(condition, x)[1].detach()
    torch.testing.assert_close(found @ found.T, residual.T @ residual / 2000, atol=5e-3, rtol=0)
