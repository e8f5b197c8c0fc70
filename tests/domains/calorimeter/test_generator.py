"""What the generator's family is trained on: random symmetric images, unless the showers are tilted."""

import pytest
import torch
from maquette.core.data import Batch, TensorSource
from maquette.core.noise import KeyedNoise
from maquette.core.objective import TransformedObjective
from maquette.data_specs.calorimeter.geometry import Geometry, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_to_json
from maquette.domains.calorimeter.codec.symmetries import RandomSymmetry
from maquette.domains.calorimeter.generator import ShowerGeneratorConfig
from maquette.domains.generator import Generator

RINGS = Geometry("rings", (PolarLayer(0, (0.0, 1.0), 8), PolarLayer(1, (0.0, 1.0, 2.0), 4)), threshold=0.1)
INDEX = torch.arange(64)


def generator(conditions: dict[str, int], *, symmetric: bool) -> tuple[Generator, Batch]:
    """A generator for random showers with such conditions, and these showers."""
    torch.manual_seed(0)
    x = torch.rand(64, RINGS.n_voxels)
    condition = {"energy": 2 * x.sum(1, keepdim=True)}
    condition |= {name: torch.rand(64, size) for name, size in conditions.items()}
    family = {"kind": "spline", "scheme": "coupling", "transforms": 2, "hidden": [8], "bins": 4}
    config = ShowerGeneratorConfig.model_validate({"family": family, "symmetric": symmetric})
    description = {"geometry": geometry_to_json(RINGS), "conditions": {"energy": 1, **conditions}}
    return config.build(description, TensorSource(x, condition)), Batch(x, condition, INDEX)


def trained_on(generator: Generator, batch: Batch, noise: KeyedNoise) -> Batch:
    """Of which batch the family's own objective is asked for the loss."""
    (stage,) = generator.stages()
    adapted, seen = stage.players[0].objective, []
    assert isinstance(adapted, TransformedObjective)
    adapted.objective.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    adapted(batch, noise)
    return seen[0]


@pytest.mark.parametrize(
    ("conditions", "symmetric", "moved"),
    [({}, True, True), ({}, False, False), ({"angle": 2}, True, False)],
    ids=["straight", "as asked", "tilted"],
)
def test_batches_are_moved_by_symmetries_unless_showers_are_tilted(
    conditions: dict[str, int], symmetric: bool, moved: bool
) -> None:
    model, batch = generator(conditions, symmetric=symmetric)
    noise = KeyedNoise(2, INDEX)
    inner = noise.fold("adapt")
    image = RandomSymmetry(RINGS)(batch, inner.fold("symmetry"))
    assert isinstance(image.x, torch.Tensor)
    assert isinstance(batch.x, torch.Tensor)
    assert (image.x != batch.x).any(1).float().mean() > 0.5
    found = trained_on(model, batch, noise)
    expected, other = (
        model.codec.encode(one, inner.fold("codec")) for one in ((image, batch) if moved else (batch, image))
    )
    assert all(torch.equal(found.x[name], expected.x[name]) for name in expected.x)
    assert not all(torch.equal(found.x[name], other.x[name]) for name in other.x)
