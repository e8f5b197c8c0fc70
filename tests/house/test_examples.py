"""Examples in docstrings: they run, print what they say and leave nothing behind, and every public name is in one."""

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
from maquette.core.families import families
from maquette.core.likelihoods import likelihoods
from maquette.core.nets import networks
from maquette.core.nets.encoder_decoder import coders

ROOMS = ("core", "data_specs", "domains", "pipelines")
SHOWN = (
    *("spaces", "layout", "noise", "data", "config", "registry", "artifact"),
    *("samplers", "inference", "statistics", "likelihoods"),
)
"""Modules and packages of core whose public functions and classes all have to be in an example."""
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


def test_every_public_name_is_in_an_example():
    sources = (example.source for name in MODULES for test in examples(name) for example in test.examples)
    words = set(re.findall(r"\w+", " ".join(sources)))
    names = {
        f"{name}.{member}"
        for name in modules(*(f"core.{room}" for room in SHOWN))
        for member in public(importlib.import_module(name))
    }
    for registry in (families, networks, likelihoods, coders):
        configs = {f"{config.__module__}.{config.__name__}" for _, config in registry.items()}
        names |= {name for name in configs if name.startswith("maquette.")}  # tests register some of their own
    names |= {f"maquette.{verb}" for verb in maquette.__all__ if not verb.startswith("_")}
    missing = [name for name in sorted(names) if name.rpartition(".")[2] not in words]
    assert not missing, f"no example uses {', '.join(missing)}"
