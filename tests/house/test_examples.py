"""The examples in docstrings run, print what they say, leave the random state of others alone, and are quick."""

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest
import torch

ROOMS = ("core", "data_specs", "domains", "pipelines")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> Iterator[str]:
    yield "maquette"
    for room in ROOMS:
        package = importlib.import_module(f"maquette.{room}")
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}."):
            yield found.name


def examples(name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(importlib.import_module(name)) if test.examples]


@pytest.mark.parametrize("name", list(modules()))
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
