"""Samples and losses of every family from fixed weights are those that were recorded.

Weights, inputs and noise are keyed, so a change of one number is a change of the family's arithmetic. The file was
recorded on 2026-11-21, at commit efe00f5. Who changes a family's samples on purpose, or adds a family, records it:

    python -m pytest tests/core/families/test_samples.py --record made --record nade

and says in the message of the commit why the numbers changed.
"""

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families import families
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Binary, Field, Interval, Levels, Product, Sequence, Torus, Vector, flatten, support_of
from maquette.core.testing.bench import set_weights
from maquette.core.testing.cover import CONDITIONS, SUPPORTS

SINGLE = ("continuous", "distilled", "edm", "flow-matching", "gan")
"""Families with constants, such as frequencies of time, that are computed in float32 when the model is built."""
SAMPLES = 2
_, _, LABELLED = CONDITIONS


def spaces(support):
    """Five spaces of a support by name, each with a condition or None."""
    discrete = isinstance(support, Levels)
    sequence = {"vocabulary": support.count} if discrete else {"channels": 1, "support": support}
    plane = {"a": Vector(dim=2, support=support), "b": Field(channels=1, grid=(2, 2), support=support)}
    return {
        "vector": (Vector(dim=5, support=support), Vector(dim=2)),
        "image": (Field(channels=1, grid=(3, 2), support=support), LABELLED),
        "field": (Field(channels=2, grid=(4, 4), support=support), None),
        "sequence": (Sequence(length=5, **sequence), LABELLED),
        "product": (Product(parts=plane), LABELLED),
    }


def values(space, stream):
    """Keyed values of a space."""
    if isinstance(space, Product):
        return {name: values(part, f"{stream}/{name}") for name, part in space.parts.items()}
    u = KeyedNoise(0, torch.arange(SAMPLES), stream, dtype=torch.float64).uniform("value", space.shape)
    match support_of(space):
        case Levels(count=count):
            return (u * count).long()
        case Binary():
            return (u < 0.5).double()
        case Interval():
            return u
        case Torus(period=period):
            return period * u
        case _:
            return torch.special.ndtri(u)


def fixed(config, space, condition):
    """A model in float64 with keyed weights."""
    torch.manual_seed(0)
    model = config.build(space, condition).double().eval()
    set_weights(model, 0.2)
    return model


def computed(name, samples_and_losses):
    """Samples (2, D) and losses (2,) of a family by the key "family/support/space/sample", or ".../stage.player"."""
    config, found = families.get(name).example(), {}
    for kind in config.supports:
        for label, (space, condition) in spaces(SUPPORTS[kind]).items():
            try:
                model = fixed(config, space, condition)
            except ConfigError:
                continue
            c = None if condition is None else values(condition, "condition")
            for what, value in samples_and_losses(model, Batch(values(space, "x"), c, torch.arange(SAMPLES))).items():
                flat = flatten(space, value).double() if what == "sample" else value
                found[f"{name}/{kind}/{label}/{what}"] = flat
    return found


@pytest.mark.parametrize("name", families.names())
def test_samples_and_losses_are_those_recorded(name, recorded, samples_and_losses):
    expected = recorded(name, lambda: computed(name, samples_and_losses))
    if not expected:
        pytest.skip(f"{name} is not recorded; give --record {name}")
    found = computed(name, samples_and_losses)
    assert set(found) == set(expected)
    rtol, atol = (1e-5, 1e-5) if name in SINGLE else (1e-9, 1e-12)  # other processors round otherwise
    for key, value in found.items():
        exact = key.split("/")[1] in ("binary", "levels") and key.endswith("/sample")
        near = {"rtol": 0, "atol": 0} if exact else {"rtol": rtol, "atol": atol}
        torch.testing.assert_close(value, expected[key], **near, msg=lambda text, key=key: f"{key}: {text}")
