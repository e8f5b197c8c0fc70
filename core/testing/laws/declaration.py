"""Laws of every model: it is what its config declares, and survives the disk.

>>> from maquette.core.families.flows.linear import LinearConfig
>>> from maquette.core.spaces import Vector
>>> for check in (check_declaration, check_saving):  # each holds: nothing is raised
...     check(LinearConfig(), Vector(dim=3), Vector(dim=1))
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from ... import artifact
from ...capabilities import capabilities
from ...config import parse
from ...families import FamilyConfig
from ...spaces import Space, flatten
from ..bench import condition_of, keyed, shaken


def check_declaration(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """`build` returns what `config.model` promises, and the config survives its own JSON."""
    model = config.build(space, condition)
    assert isinstance(model, config.model), f"build returns a {type(model).__name__}, not a {config.model.__name__}"
    missing = set(capabilities(config.model)) - set(capabilities(model))
    assert not missing, f"the class promises {sorted(missing)}, the model lacks them"
    assert parse(type(config), config.model_dump(mode="json")) == config, "the config differs when read from its JSON"


def check_saving(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A model read back from its artefact equals the one that was saved, to the bit."""
    model, other = shaken(config, space, condition), shaken(config, space, condition, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(Path(folder) / "model", {"family": config.model_dump(mode="json")}, model.state_dict())
        content, tensors = artifact.load(Path(folder) / "model")
    assert parse(type(config), content["family"]) == config, "the config read back differs"
    artifact.restore(other, tensors, what="the artefact")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), f"{name} read back differs"
    if "sample" in capabilities(model):
        c = condition_of(condition, 4)
        made = config.samples(space)
        before, after = (flatten(made, each.sample(4, c, noise=keyed(4))) for each in (model, other))
        assert torch.equal(before, after), "the model read back samples differently"
