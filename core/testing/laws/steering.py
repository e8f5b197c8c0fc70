"""The law of options of sampling: a view of a model samples otherwise, and leaves the model as it is.

>>> from maquette.core.families.diffusion.edm import EDMConfig
>>> from maquette.core.spaces import Vector
>>> check_sampler(EDMConfig.example(), Vector(dim=3), Vector(dim=1))  # holds: nothing is raised
"""

from __future__ import annotations

import torch

from ...families import FamilyConfig
from ...spaces import Space, flatten
from ..bench import condition_of, keyed, shared


def check_sampler(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A view shares the weights; with the model's own options it draws the same samples, with others it does not.

    The option that is changed is the temperature, which every sampler has.
    """
    model, c, made = shared(config, space, condition), condition_of(condition, 4), config.samples(space)

    def drawn(model: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return flatten(made, model.sample(4, c, noise=keyed(4)))  # type: ignore[operator]

    before, options = drawn(model), model.sampler.model_dump()
    same, cold = model.with_sampler(**options), model.with_sampler(temperature=0.5)
    assert torch.equal(drawn(same), before), "a view with the same options draws other samples"
    assert not torch.equal(drawn(cold), before), "another temperature draws the same samples"
    assert model.sampler.model_dump() == options, "the view changed the model's options"
    assert torch.equal(drawn(model), before), "the view changed the model's samples"
    mine, theirs = dict(model.named_parameters()), dict(cold.named_parameters())
    assert mine.keys() == theirs.keys(), "the view has other weights"
    copied = [name for name in mine if mine[name] is not theirs[name]]
    assert not copied, f"the view has copies of {copied}"
