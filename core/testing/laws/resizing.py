"""The law of other grids: a view samples them with the same weights, and on its own grid it is the model itself.

>>> from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
>>> from maquette.core.nets.unet import UNetConfig
>>> network = UNetConfig(widths=(4,), strides=(), depth=1, attention=(), groups=2)
>>> check_at(FlowMatchingConfig(network=network), Field(channels=1, grid=(4,)), None)  # holds: nothing is raised
"""

from __future__ import annotations

import torch

from ...errors import ConfigError
from ...families import FamilyConfig
from ...grids import with_grid
from ...spaces import Field, Space, Tree, as_parts, flatten, from_parts
from ...values import check
from ..bench import condition_of, keyed, shared


def check_at(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """On its own grid the view draws the model's samples; on one of twice the sides, samples of that grid.

    A model whose weights belong to one grid raises `ConfigError`, and owes no more.
    """
    model, made = shared(config, space, condition), config.samples(space)

    def drawn(model: torch.nn.Module, condition: Space | None) -> Tree:
        with torch.no_grad():
            return model.sample(4, condition_of(condition, 4), noise=keyed(4))  # type: ignore[operator]

    before = flatten(made, drawn(model, condition))
    try:
        same = model.at(made)  # type: ignore[operator]
    except ConfigError:
        return
    assert torch.equal(flatten(made, drawn(same, condition)), before), "a view on the same grid draws other samples"
    copied = dict(same.named_parameters())
    assert all(copied[name] is weight for name, weight in model.named_parameters()), "the view has copies of weights"
    grids = {part.grid for part in as_parts(made).values() if isinstance(part, Field)}
    if len(grids) != 1:
        return
    (grid,) = grids
    doubled = tuple(2 * side for side in grid)
    large = with_grid(made, doubled)
    moved = {
        name: with_grid(part, doubled) if isinstance(part, Field) and part.grid == grid else part
        for name, part in as_parts(condition).items()
    }
    check(large, drawn(model.at(large), from_parts(moved) if moved else None), what="sample on a larger grid")  # type: ignore[operator]
    assert torch.equal(flatten(made, drawn(model, condition)), before), "the view changed the model"
