"""Examples in docstrings: they run, print what they say and leave nothing behind; public names are in one."""

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import maquette
import pytest
import torch

ROOMS = ("core", "data_specs", "domains", "pipelines")
COMMAND_LINE = ("maquette.pipelines.cli.", "maquette.pipelines.looking.")
"""Modules whose docstrings are the texts of `--help`, so they have no examples."""
NOT_SHOWN = {
    "core.testing.laws.density.check_estimate": "draws for a second",
    "core.testing.principal.check_importance": "draws for a second",
    "core.testing.training.assert_processes_do_not_matter": "starts processes",
    "core.testing.training.assert_reshard": "starts processes",
    "core.testing.training.assert_resume_equals_uninterrupted": "fits three times",
    "core.testing.training.assert_world_size_does_not_matter": "starts processes",
    "core.testing.worker.main": "is what a process runs",
    "pipelines.mlflow.run_log.open_log": "makes a database, which takes seconds",
    "pipelines.mlflow.store.connect": "makes a database, which takes seconds",
}
"""Public names that are in no example, and why."""
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules(*rooms: str) -> Iterator[str]:
    for room in rooms:
        package = importlib.import_module(f"maquette.{room}")
        yield package.__name__
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), prefix=f"{package.__name__}."):
            yield found.name


MODULES = ["maquette", *modules(*ROOMS)]


@cache
def examples(name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("no_drawing")
def test_examples_of_a_module(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    report: list[str] = []
    for test in examples(name):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
    assert list(tmp_path.iterdir()) == [], "an example left files behind"


def public(module: ModuleType) -> Iterator[str]:
    """Functions and classes that a module defines, without protocols and exceptions."""
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(member):
            exempt = issubclass(member, BaseException) or getattr(member, "_is_protocol", False)
        else:
            exempt = not inspect.isfunction(member)
        if not exempt:
            yield name


@cache
def shown() -> set[str]:
    """Words of the code of all examples, and the classes of the objects that they print."""
    words: set[str] = set()
    for name in MODULES:
        for example in (example for test in examples(name) for example in test.examples):
            words.update(re.findall(r"\w+", example.source), re.findall(r"(\w+)\(", example.want))
    return words


def test_every_public_name_is_in_an_example():
    names = {f"{name}.{member}" for name in modules(*ROOMS) for member in public(importlib.import_module(name))}
    names |= {f"maquette.{verb}" for verb in maquette.__all__ if not verb.startswith("_")}
    exempt = {f"maquette.{name}" for name in NOT_SHOWN}
    assert exempt <= names, f"there is no {', '.join(sorted(exempt - names))}"
    lacking = [name for name in sorted(names) if name.rpartition(".")[2] not in shown()]
    missing = [name for name in lacking if name not in exempt and not name.startswith(COMMAND_LINE)]
    assert not missing, f"no example uses {', '.join(missing)}"
    assert exempt <= set(lacking), f"an example uses {', '.join(sorted(exempt - set(lacking)))}"
