"""Showers and losses of recipes from fixed weights are those that were recorded: codec, families and adapters together.

Weights and noise are keyed. The file was recorded on 2026-11-21, at commit efe00f5. Who changes a recipe, the codec or
a family on purpose records it anew, and says in the message of the commit why the numbers changed:

    python tests/domains/calorimeter/test_samples.py smoke quick gan
"""

import sys
from pathlib import Path

import pytest
import torch
from maquette.core.noise import KeyedNoise
from maquette.core.testing.bench import set_weights
from maquette.domains import domains
from maquette.pipelines.run.config import resolve
from safetensors.torch import load_file, save_file

FILE = Path(__file__).with_name("samples.safetensors")
RECIPES = ("smoke", "quick", "gan")
ROWS, SAMPLES = 600, 3


def keyed(seed, stream):
    return KeyedNoise(seed, torch.arange(SAMPLES), stream, dtype=torch.float64)


def computed(recipe):
    """Showers (3, voxels) and losses (3,) by the key "recipe/sample", or "recipe/stage.player"."""
    domain = domains.get("calorimeter")
    data = domain.open(domain.sample_path(), {}).rows(0, ROWS)
    torch.manual_seed(0)
    model = resolve(domain, recipe).generator.build(data.description, data).double().eval()
    set_weights(model, 0.05)
    batch = data.fetch(torch.arange(SAMPLES)).to("cpu", torch.float64)
    with torch.no_grad():
        found = {f"{recipe}/sample": model.sample(SAMPLES, batch.condition, noise=keyed(2, "sample"))}
    for stage in model.stages():
        for player in stage.players:
            losses = player.objective(batch, keyed(3, "loss")).losses
            found[f"{recipe}/{stage.name}.{player.name}"] = losses.detach()
    return found


@pytest.fixture(scope="module")
def recorded():
    return load_file(FILE)


@pytest.mark.parametrize("recipe", RECIPES)
def test_samples_and_losses_are_those_recorded(recipe, recorded):
    expected = {key: value for key, value in recorded.items() if key.startswith(f"{recipe}/")}
    found = computed(recipe)
    assert set(found) == set(expected)
    for key, value in found.items():
        # other processors round otherwise
        torch.testing.assert_close(
            value, expected[key], rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}"
        )


def record(recipes):
    kept = load_file(FILE)
    for recipe in recipes:
        kept = {key: value for key, value in kept.items() if not key.startswith(f"{recipe}/")} | computed(recipe)
    save_file(kept, FILE)
    print(f"recorded {', '.join(recipes)} in {FILE}")


if __name__ == "__main__":
    record(sys.argv[1:] or RECIPES)
