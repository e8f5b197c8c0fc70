"""Laws of samplers: samples are values of the space, depend on their own noise only, and follow the condition.

>>> from maquette.core.families.flows.linear import LinearConfig
>>> from maquette.core.spaces import Vector
>>> for check in (check_sample, check_sample_index, check_sample_condition):  # each holds: nothing is raised
...     check(LinearConfig(), Vector(dim=3), Vector(dim=1))
"""

from __future__ import annotations

import torch

from ...data import map_tree
from ...families import FamilyConfig
from ...spaces import Space, batch_size, flatten
from ...values import check
from ..bench import TOLERANCES, assert_near, condition_of, draw, keyed, shaken, shared


def check_sample(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples are finite values of the space of samples, for any n, in the precision of the model."""
    model, made = shared(config, space, condition), config.samples(space)
    for n in (1, 5):
        c = condition_of(condition, n)
        with torch.no_grad():
            x = model.sample(n, c, noise=keyed(n))
            assert batch_size(x) == n, f"{batch_size(x)} samples, where {n} were asked for"
            check(made, x, what="sample")
            assert flatten(made, x).isfinite().all(), "samples are not finite"
    single = shaken(config, space, condition).float()
    c = map_tree(lambda t: t.float() if t.is_floating_point() else t, c)
    with torch.no_grad():
        x = single.sample(5, c, noise=keyed(5, dtype=torch.float32))
    values = draw(made, 1, seed=0)
    for name, part in x.items() if isinstance(x, dict) else [("samples", x)]:
        value = values[name] if isinstance(values, dict) else values
        expected = torch.float32 if value.is_floating_point() else torch.int64
        assert part.dtype == expected, f"{name} of a model in float32: {part.dtype}, expected {expected}"


def check_sample_index(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A sample is a function of its own index and condition: the same in any batch, and at every call."""
    model, c, made = shared(config, space, condition), condition_of(condition, 8), config.samples(space)
    with torch.no_grad():
        eight = flatten(made, model.sample(8, c, noise=keyed(8)))
        again = flatten(made, model.sample(8, c, noise=keyed(8)))
        few = map_tree(lambda t: t[:4], c)
        four = flatten(made, model.sample(4, few, noise=keyed(4)))
        other = flatten(made, model.sample(8, c, noise=keyed(8, seed=1)))
    assert torch.equal(eight, again), "two calls with the same noise differ"
    assert not torch.equal(eight, other), "samples do not depend on the noise"
    assert_near(four, eight[:4], TOLERANCES[config.tolerance], "samples depend on their batch")


def check_sample_condition(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples follow the condition."""
    assert condition is not None
    # shaken more, and more samples: a slight difference of conditions changes few discrete ones
    model, n, made = shared(config, space, condition, scale=0.5), 128, config.samples(space)
    with torch.no_grad():
        one, two = (flatten(made, model.sample(n, draw(condition, n, seed=seed), noise=keyed(n))) for seed in (2, 3))
    assert not torch.allclose(one, two), "samples do not depend on the condition"
