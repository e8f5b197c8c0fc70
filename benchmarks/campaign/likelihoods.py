"""Likelihoods on static MNIST and on text: families fitted for an entry's minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import likelihood_mnist
import likelihood_text
import torch
from budgeted import Budget, Recipe, run
from maquette.core.data import Source, Subset, TensorSource
from maquette.core.spaces import Sequence, Space

from .entry import Figure, Setting

MNIST, TEXT = f"core/{likelihood_mnist.FILE}", f"core/{likelihood_text.FILE}"


def likelihood(
    setting: Setting, recipe: Recipe, space: Space, train: Source, held_out: Source, test: Source, per: int, unit: str
) -> Iterator[Figure]:
    """Fit a family for the entry's minutes, and score the test samples."""
    folder = setting.folder / "fit"
    if setting.dry:
        few = torch.arange(4)
        held_out, test = Subset(held_out, few), Subset(test, few)
        recipe = replace(recipe, batch=2, draws=2, micro_batch=None)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pace.json").write_text(json.dumps({"steps": 2, "every": 2}))
    budget = Budget(setting.fitting, setting.device, compile=False)
    run(setting.folder.name, recipe, budget, space, train, held_out, test, folder, resume=True)
    found = json.loads((folder / "result.json").read_text())
    yield Figure(
        f"negative log-likelihood ({found['what']})", found["nll"] / per, unit, found["n"], found["error"] / per
    )


def mnist(setting: Setting, *, family: str) -> Iterator[Figure]:
    recipe = likelihood_mnist.recipes("cpu" if setting.dry else "cuda")[family]
    images = likelihood_mnist.images(setting.data / "core", setting.device)
    yield from likelihood(setting, recipe, likelihood_mnist.SPACE, *images, per=1, unit="nats/image")


def text(setting: Setting, *, family: str) -> Iterator[Figure]:
    recipe = likelihood_text.recipes("cpu" if setting.dry else "cuda")[family]
    length = 16 if setting.dry else 256
    characters, vocabulary = likelihood_text.characters(setting.data / TEXT)
    cut = len(characters) * 9 // 10
    rest = characters[cut:].to(setting.device)
    windows = rest[: len(rest) // length * length].reshape(-1, length)
    train = likelihood_text.Windows(characters[:cut].to(setting.device), length)
    parts = train, TensorSource(windows[::2]), TensorSource(windows[1::2])
    space = Sequence(length=length, vocabulary=vocabulary)
    yield from likelihood(setting, recipe, space, *parts, per=length, unit="nats/character")
