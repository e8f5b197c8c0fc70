"""Laws of autoregressive models: causal, a product of conditionals, and as good a code as they claim."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import ArtifactError
from ...families import FamilyConfig
from ...inference.compress import HEADER, compress, decompress
from ...spaces import (
    Space,
    flatten,
    size,
    unflatten,
)
from ..bench import (
    TOLERANCES,
    assert_near,
    batch_of,
    condition_of,
    draw,
    keyed,
    shaken,
)


def check_causal(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """A number's law is blind to the number itself and to all that are drawn later: exactly so."""
    model, batch = shaken(config, space, condition), batch_of(space, condition, 4)
    order, other = model.order, flatten(space, draw(space, 4, seed=5))
    rows = flatten(space, batch.x)
    with torch.no_grad():
        before = model.conditionals(batch.x, batch.condition)
        assert before.shape == (4, size(space), model.likelihood.parameters)
        for i in range(len(order)):
            later = rows.clone()
            later[:, order[i:]] = other[:, order[i:]]
            after = model.conditionals(unflatten(space, later), batch.condition)
            seen = order[: i + 1]
            assert torch.equal(after[:, seen], before[:, seen]), f"the law of number {i} sees itself or later ones"


@dataclass
class _Recorded:
    """A likelihood that keeps the parameters it was given to draw from."""

    law: Any
    seen: list[Tensor] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.law, name)

    def draw(self, parameters: Tensor, u: Tensor) -> Tensor:
        self.seen.append(parameters)
        return self.law.draw(parameters, u)


def check_conditionals(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """The density is the product of the conditionals, and numbers are drawn from them in turn: cached or anew."""
    model, n, tolerance = shaken(config, space, condition), 6, TOLERANCES[config.tolerance]
    c, noise = condition_of(condition, n), keyed(n)
    law = model.likelihood = _Recorded(model.likelihood)
    with torch.no_grad():
        x = model.sample(n, c, noise=noise)
        rows, parameters = flatten(space, x), model.conditionals(x, c)
        product = law.log_prob(parameters, rows).sum(1)
        drawn_from = torch.stack(law.seen, dim=1)[:, model.order.argsort()]
        drawn = law.law.draw(parameters, noise.uniform("numbers", (size(space), law.uniforms)))
    assert_near(product, model.log_prob(x, c), tolerance, "product of conditionals")
    assert_near(drawn_from, parameters, tolerance, "parameters that numbers were drawn from")
    assert_near(drawn.double(), rows.double(), tolerance, "a sample, drawn again from its conditionals")


def check_compression(config: FamilyConfig, space: Space, condition: Space | None) -> None:
    """Samples survive compression to the bit, and take as many bits as their negative log2-likelihood says."""
    model, n = shaken(config, space, condition), 200
    c = condition_of(condition, n)
    with torch.no_grad():
        x = model.sample(n, c, noise=keyed(n))
        expected = -model.log_prob(x, c).sum().item() / math.log(2)
    archive = compress(model, x, c)
    try:
        again = decompress(model, archive, c)
    except ArtifactError as error:
        raise AssertionError(f"written and read with different laws: {error}") from None
    assert torch.equal(flatten(space, again), flatten(space, x)), "samples changed on their way through an archive"
    bits = 8 * (len(archive) - HEADER)
    # the code ends with a whole word of 32 bits, and the coder may hold back one more
    assert abs(bits - expected) <= 1e-3 * expected + 64, f"{bits} bits, where {expected:.1f} were to be expected"
