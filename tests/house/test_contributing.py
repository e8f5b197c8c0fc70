"""The family and the domain that CONTRIBUTING.md shows are whole ones: they register, keep laws, and can be fitted."""

import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import h5py
import pytest
import torch
from maquette import load
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit as train
from maquette.core.engine.plan import OptimizerConfig, TrainingConfig
from maquette.core.errors import ConfigError
from maquette.core.families import FamilyConfig, families
from maquette.core.spaces import Vector
from maquette.core.testing.laws import LAWS, owed
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.reporting import latency
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import validate

NAME = "maquette.core.families.gaussian"


def shown(root: Path, section: str, language: str) -> str:
    """The code of a language in a section of the page."""
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (text,) = (part for part in re.split(r"^## ", page, flags=re.MULTILINE) if part.startswith(f"{section}\n"))
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture(scope="module")
def gaussian(root) -> Iterator[type[FamilyConfig]]:
    """The config of the page's family, registered while the module's tests run."""
    source = shown(root, "A family", "python")
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
    train(training.plan(model.stages()), TensorSource(x, condition), tmp_path, seed=0)
    # least squares is the optimum in closed form
    columns = torch.cat((condition, torch.ones(2000, 1)), dim=1)
    best = torch.linalg.lstsq(columns, x).solution
    residual = x - columns @ best
    torch.testing.assert_close(model.mean.weight.data, best[:2].T, atol=2e-3, rtol=0)
    found = model(condition, x)[1].detach()
    torch.testing.assert_close(found @ found.T, residual.T @ residual / 2000, atol=5e-3, rtol=0)


@pytest.fixture
def pulses(root, tmp_path) -> Iterator[Path]:
    """The folder of the page's domain, registered while a test runs."""
    folder, name = tmp_path / "pulses", "maquette.domains.pulses.plugin"
    (folder / "recipes").mkdir(parents=True)
    (folder / "plugin.py").write_text(shown(root, "A domain", "python"))
    (folder / "recipes" / "smoke.yaml").write_text(shown(root, "A domain", "yaml"))
    specification = spec_from_file_location(name, folder / "plugin.py")
    assert specification is not None
    assert specification.loader is not None
    sys.modules[name] = module = module_from_spec(specification)
    specification.loader.exec_module(module)
    domains.register("pulses")(module.PULSES)
    yield folder
    del sys.modules[name], domains._members["pulses"]


def test_the_domain_goes_through_the_verbs(pulses, monkeypatch):
    monkeypatch.chdir(pulses)
    monkeypatch.setattr(latency, "_SECONDS", 0.01)
    for seed, file in enumerate(("training.h5", "reference.h5")):
        simulate("pulses", n=1000, seed=seed, out=file)
    fit("pulses", data="training.h5", out="run", recipe="smoke", overrides=["tracking=none"])
    generate("run", n=1000, out="new.h5")
    found = validate("pulses", reference="reference.h5", generated="new.h5", out="validation", track=False).evaluation
    assert found.verdict.startswith("indistinguishable")

    # the density is that of the data: on a grid of times and heights it sums to one
    time, height = torch.linspace(-2000, 8000, 400), torch.linspace(0.05, 120, 400)
    x = torch.cartesian_prod(time, height)
    total = load("run").generator.log_prob(x).exp().sum() * (time[1] - time[0]) * (height[1] - height[0])
    assert float(total) == pytest.approx(1, abs=0.02)


def test_its_reader_answers_bad_files(pulses, tmp_path):
    plugin = domains.get("pulses")
    for rows, sentence in (
        ([[1.0, -2.0]], "row 0: expected finite numbers and a height above zero"),
        ([[1.0, 2.0, 3.0]], "expected rows of a time and a height"),
    ):
        file = tmp_path / f"{len(rows[0])}.h5"
        with h5py.File(file, "w") as stream:
            stream["pulses"] = rows
        with pytest.raises(DataError, match=sentence):
            plugin.check(file, {}, lambda *_: None)
    with pytest.raises(ConfigError, match=r"the reader of pulses has none, found \['gain'\]"):
        plugin.open(tmp_path / "any.h5", {"gain": 2})
