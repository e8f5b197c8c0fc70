"""Showers and losses of recipes from fixed weights are those that were recorded: codec, families and adapters together.

Weights and noise are keyed. The file was recorded on 2026-11-21, at commit efe00f5. Who changes a recipe, the codec or
a family on purpose records it anew, and says in the message of the commit why the numbers changed:

    python -m pytest tests/domains/calorimeter/test_samples.py --record smoke --record quick --record gan
"""

import pytest
import torch
from maquette.core.testing.bench import set_weights
from maquette.domains import domains
from maquette.pipelines.run.config import resolve

RECIPES = ("smoke", "quick", "gan")
ROWS, SAMPLES = 600, 3


def computed(recipe, samples_and_losses):
    """Showers (3, voxels) and losses (3,) by the key "recipe/sample", or "recipe/stage.player"."""
    domain = domains.get("calorimeter")
    data = domain.open(domain.sample_path(), {}).rows(0, ROWS)
    torch.manual_seed(0)
    model = resolve(domain, recipe).generator.build(data.description, data).double().eval()
    set_weights(model, 0.05)
    batch = data.fetch(torch.arange(SAMPLES)).to("cpu", torch.float64)
    return {f"{recipe}/{what}": value for what, value in samples_and_losses(model, batch).items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_samples_and_losses_are_those_recorded(recipe, recorded, samples_and_losses):
    expected = recorded(recipe, lambda: computed(recipe, samples_and_losses))
    found = computed(recipe, samples_and_losses)
    assert set(found) == set(expected)
    for key, value in found.items():
        # other processors round otherwise
        torch.testing.assert_close(
            value, expected[key], rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}"
        )
