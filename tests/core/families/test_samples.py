"""Samples and losses of every family from fixed weights are those that were recorded.

Weights, inputs and noise are keyed, so a change of one number is a change of the family's arithmetic. The file was
recorded on 2026-11-21, at commit efe00f5. Who changes a family's samples on purpose, or adds a family, records it:

    python tests/core/families/test_samples.py made nade    # these families anew
    python tests/core/families/test_samples.py              # those that the file lacks

and says in the message of the commit why the numbers changed.
"""

import sys
from pathlib import Path

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families import families
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import (
    Binary,
    Field,
    Interval,
    Levels,
    Product,
    Real,
    Sequence,
    Torus,
    Vector,
    flatten,
    support_of,
)
from maquette.core.testing.bench import set_weights
from safetensors.torch import load_file, save_file

FILE = Path(__file__).with_name("samples.safetensors")
SINGLE = ("continuous", "distilled", "edm", "flow-matching", "gan")
"""Families with constants, such as frequencies of time, that are computed in float32 when the model is built."""
SAMPLES = 2
SUPPORTS = {
    "real": Real(),
    "binary": Binary(),
    "levels": Levels(count=3),
    "interval": Interval(),
    "torus": Torus(),
}
LABELLED = Product(
    parts={
        "energy": Vector(dim=1),
        "kind": Vector(dim=1, support=Levels(count=3)),
        "angle": Vector(dim=1, support=Torus()),
    }
)


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


def keyed(seed, stream):
    return KeyedNoise(seed, torch.arange(SAMPLES), stream, dtype=torch.float64)


def values(space, stream):
    """Keyed values of a space."""
    if isinstance(space, Product):
        return {name: values(part, f"{stream}/{name}") for name, part in space.parts.items()}
    u = keyed(0, stream).uniform("value", space.shape)
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


def computed(name):
    """Samples (2, D) and losses (2,) of a family by the key "family/support/space/sample", or ".../stage.player"."""
    config, found = families.get(name).example(), {}
    for kind in config.supports:
        for label, (space, condition) in spaces(SUPPORTS[kind]).items():
            try:
                model = fixed(config, space, condition)
            except ConfigError:
                continue
            key = f"{name}/{kind}/{label}"
            c = None if condition is None else values(condition, "condition")
            with torch.no_grad():
                x = model.sample(SAMPLES, c, noise=keyed(2, "sample"))
            found[f"{key}/sample"] = flatten(space, x).double()
            batch = Batch(values(space, "x"), c, torch.arange(SAMPLES))
            for stage in model.stages():
                for player in stage.players:
                    losses = player.objective(batch, keyed(3, "loss")).losses
                    found[f"{key}/{stage.name}.{player.name}"] = losses.detach()
    return found


@pytest.fixture(scope="module")
def recorded():
    return load_file(FILE)


@pytest.mark.parametrize("name", families.names())
def test_samples_and_losses_are_those_recorded(name, recorded):
    expected = {key: value for key, value in recorded.items() if key.startswith(f"{name}/")}
    if not expected:
        pytest.skip(f"{name} is not recorded: python tests/core/families/test_samples.py")
    found = computed(name)
    assert set(found) == set(expected)
    rtol, atol = (1e-5, 1e-5) if name in SINGLE else (1e-9, 1e-12)  # other processors round otherwise
    for key, value in found.items():
        exact = key.split("/")[1] in ("binary", "levels") and key.endswith("/sample")
        near = {"rtol": 0, "atol": 0} if exact else {"rtol": rtol, "atol": atol}
        torch.testing.assert_close(value, expected[key], **near, msg=lambda text, key=key: f"{key}: {text}")


def record(names):
    kept = load_file(FILE)
    names = names or [name for name in families.names() if not any(key.startswith(f"{name}/") for key in kept)]
    kept = {key: value for key, value in kept.items() if key.split("/")[0] not in names}
    for name in names:
        kept |= computed(name)
    save_file(kept, FILE)
    print(f"recorded {', '.join(names) or 'nothing: no family is missing'} in {FILE}")


if __name__ == "__main__":
    record(sys.argv[1:])
