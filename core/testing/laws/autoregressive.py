"""Laws of autoregressive models: causal, a product of conditionals, and as good a code as their density says.

>>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
>>> from maquette.core.spaces import Binary, Vector
>>> for check in (check_causal, check_conditionals, check_compression):  # each holds: nothing is raised
...     check(FVSBNConfig(), Vector(dim=3, support=Binary()), None)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import ArtifactError
from ...families import FamilyConfig
from ...inference.compress import HEADER, compress, decompress
from ...spaces import Space, flatten, size, unflatten
from ..bench import TOLERANCES, assert_near, batch_of, condition_of, draw, keyed, shaken, shared


def check_causal(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The conditional of a feature does not depend on the feature itself, nor on those drawn after it: exactly so."""
    model, batch = shared(config, space, condition), batch_of(space, condition, 4)
    order, other = model.order, flatten(space, draw(space, 4, seed=5))
    flat = flatten(space, batch.x)
    with torch.no_grad():
        before = model.conditionals(batch.x, batch.condition)
        assert before.shape == (4, size(space), model.likelihood.parameters)
        for i in range(len(order)):
            later = flat.clone()
            later[:, order[i:]] = other[:, order[i:]]
            after = model.conditionals(unflatten(space, later), batch.condition)
            earlier = order[: i + 1]
            assert torch.equal(after[:, earlier], before[:, earlier]), (
                f"the conditional of the feature drawn as number {i} depends on itself or on later ones"
            )


@dataclass
class _Recorder:
    """A likelihood that keeps the parameters it was given to draw from."""

    likelihood: Any
    parameters_seen: list[Tensor] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.likelihood, name)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        self.parameters_seen.append(parameters)
        return self.likelihood.draw(parameters, u)


def check_conditionals(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density is the product of the conditionals, and features are drawn from them in turn, with a cache or not."""
    model, n, tolerance = shaken(config, space, condition), 6, TOLERANCES[config.tolerance]
    c, noise = condition_of(condition, n), keyed(n)
    likelihood = model.likelihood = _Recorder(model.likelihood)
    with torch.no_grad():
        x = model.sample(n, c, noise=noise)
        flat, parameters = flatten(space, x), model.conditionals(x, c)
        product = likelihood.log_prob(parameters, flat).sum(1)
        drawn_from = torch.stack(likelihood.parameters_seen, dim=1)[:, model.order.argsort()]
        drawn = likelihood.likelihood.draw(parameters, noise.uniform("numbers", (size(space), likelihood.uniforms)))
    assert_near(product, model.log_prob(x, c), tolerance, "product of conditionals")
    assert_near(drawn_from, parameters, tolerance, "parameters that features were drawn from")
    assert_near(drawn.double(), flat.double(), tolerance, "a sample drawn again from its conditionals")


def check_compression(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples survive compression to the bit, and take as many bits as their negative log2-likelihood."""
    model, n = shared(config, space, condition), 200
    c = condition_of(condition, n)
    with torch.no_grad():
        x = model.sample(n, c, noise=keyed(n))
        expected = -model.log_prob(x, c).sum().item() / math.log(2)
    archive = compress(model, x, c)
    try:
        again = decompress(model, archive, c)
    except ArtifactError as error:
        raise AssertionError(f"written and read with different distributions: {error}") from None
    assert torch.equal(flatten(space, again), flatten(space, x)), "samples read from the archive differ"
    bits = 8 * (len(archive) - HEADER)
    # the code ends with a whole word of 32 bits, and the coder may hold back one more
    assert abs(bits - expected) <= 1e-3 * expected + 64, f"{bits} bits, expected {expected:.1f}"
