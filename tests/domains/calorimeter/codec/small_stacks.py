"""Random showers in small stacks of layers, and codecs fitted to them."""

import torch
from maquette.core.data import TensorSource
from maquette.data_specs.calorimeter.geometry import CartesianLayer, Geometry, PolarLayer
from maquette.data_specs.calorimeter.geometry_json import geometry_to_json
from maquette.domains.calorimeter.codec.codec import ShowerCodec, ShowerCodecConfig

CUT = 0.1
MIXED = Geometry(
    "mixed",
    (
        CartesianLayer(0, (-1.0, 0.0, 1.0), (-1.0, 1.0)),
        PolarLayer(1, (0.0,), 1),
        PolarLayer(2, (0.0, 1.0), 3),
        CartesianLayer(3, (-1.0, 1.0), (-1.0, 0.0, 1.0)),
    ),
    threshold=CUT,
)
RINGS = Geometry("rings", tuple(PolarLayer(i, (0.0, 1.0, 2.0), 4) for i in range(3)), threshold=CUT)


def showers(geometry: Geometry, n: int, seed: int = 3) -> TensorSource:
    """Random showers in which voxels and whole layers are empty now and then, the first with none at all."""
    torch.manual_seed(seed)
    x = torch.rand(n, geometry.n_voxels).mul(4).exp() * 0.2
    x *= torch.rand_like(x) < 0.7
    for i in geometry.active:
        x[:, geometry.slices[i]] *= (torch.rand(n, 1) < 0.7).float()
    x[0] = 0
    return TensorSource(x, {"energy": (x.sum(1, keepdim=True) * (1.2 + torch.rand(n, 1))).clamp(min=5.0)})


def fitted(geometry: Geometry, source: TensorSource, **conditions: int) -> ShowerCodec:
    description = {"geometry": geometry_to_json(geometry), "conditions": {"energy": 1, **conditions}}
    codec = ShowerCodecConfig().build(description)
    codec.fit(source)
    return codec
