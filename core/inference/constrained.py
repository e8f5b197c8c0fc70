"""Autoregressive models under a constraint with a state: valences, grammars, a known beginning.

Features are drawn one after the other, and those levels get the probability zero that the constraint does not allow
after the ones drawn so far. The others keep their ratios. So sampling costs as much as without a constraint, no sample
is thrown away, and the density is that of this procedure:

    log q(x) = sum_i [log p(x_i | x_<i) - log sum of p(k | x_<i) over the levels k allowed after x_<i].

It is not p(x | x is allowed), which would weigh a first level by what is allowed after it, too. The two are equal if as
much of the model's probability is allowed after every beginning.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..capabilities import Conditionals
from ..constraint import Constraint, Path
from ..errors import ConfigError, SpaceError
from ..layout import Layout
from ..likelihoods import Restrictable
from ..noise import Noise, require_batch_size
from ..samplers.ancestral import Step, ancestral, constrained_step
from ..spaces import Tree
from .stepwise import steps


class Constrained(nn.Module):
    """A model that draws only what a constraint allows; it shares the weights of the original.

    It has conditionals itself, so that imputation and compression work under a constraint, and so do two constraints,
    one around the other.

    Args:
        model: one with conditionals, of levels or binary features.
        constraint: the rules; levels come in the model's order.

    Raises:
        ConfigError: a model that does not draw levels feature by feature.

    No coin shows heads after heads:

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.spaces import Binary, Vector
    >>> class Single:
    ...     def start(self, n, condition=None, *, device=None):
    ...         return torch.zeros(n, dtype=torch.bool, device=device)
    ...     def allowed(self, state):
    ...         return torch.stack((torch.ones_like(state), ~state), dim=1)
    ...     def advance(self, state, level):
    ...         return level == 1
    >>> model = Constrained(FVSBNConfig().build(Vector(dim=2, support=Binary())), Single())
    >>> model.log_prob(torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).exp().tolist()
    [0.25, 0.5, 0.0]
    """

    def __init__(self, model: Conditionals, constraint: Constraint) -> None:
        super().__init__()
        if not isinstance(model, Conditionals) or not isinstance(model.likelihood, Restrictable):
            raise ConfigError(
                "constraint: expected a model that draws levels feature by feature in one order, found "
                f"{_name(model)}; take an autoregressive family with a categorical or Bernoulli likelihood."
            )
        self.model: Any = model
        self.constraint = constraint

    @property
    def layout(self) -> Layout:
        return self.model.layout

    @property
    def likelihood(self) -> Any:
        return self.model.likelihood

    @property
    def order(self) -> Tensor:
        return self.model.order

    def _begin(self, n: int, condition: Tree | None) -> Path:
        return Path.begin(self.constraint, n, condition, end=self.layout.end, device=self.order.device)

    def _restrict(self, parameters: Tensor, allowed: Tensor) -> Tensor:
        restricted = self.likelihood.restrict(parameters, allowed)
        if not torch.compiler.is_compiling():
            lost = self.likelihood.log_masses(restricted).isnan().flatten(1).any(1).nonzero()
            if len(lost):
                raise SpaceError(
                    f"constraint: sample {int(lost[0])} has reached a state after which the model can draw none of the "
                    "allowed levels; allow one in every state."
                )
        return restricted

    def conditionals(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Parameters (B, D, P) of each feature's conditional among the allowed levels, in the order of the layout."""
        flat = self.layout.flatten(x)
        path, masks = self._begin(len(flat), condition), []
        for level in flat[:, self.order].unbind(1):
            masks.append(path.allowed())
            path = path.advance(level)
        return self._restrict(self.model.conditionals(x, condition), torch.stack(masks, dim=1)[:, self.order.argsort()])

    def log_prob(self, x: Tree, condition: Tree | None = None) -> Tensor:
        """Log-mass of the allowed samples, (B,), nats; minus infinity for all others."""
        return self.likelihood.log_prob(self.conditionals(x, condition), self.layout.flatten(x)).sum(1)

    def steps(self, n: int, condition: Tree | None = None) -> Step:
        """Begin to draw n samples feature by feature, in `order`; see `capabilities.Stepwise`."""
        return constrained_step(steps(self.model, n, condition), self._begin(n, condition), self._restrict)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the uniform noise "numbers" (D, U), in the order of the layout, as the model does."""
        require_batch_size(noise, n)
        uniforms = noise.uniform("numbers", (self.layout.features, self.likelihood.uniforms))
        sequence = ancestral(self.steps(n, condition), self.likelihood.draw, uniforms[:, self.order])
        return self.layout.samples(sequence[:, self.order.argsort()])


class Prefix:
    """A constraint: the first features that are drawn are given.

    Args:
        levels: those of the first K features, in the order of drawing, (B, K), int64.
        count: levels that a feature can take, the end of a variable sequence included.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Levels, Vector
    >>> model = FVSBNConfig().build(Vector(dim=4, support=Levels(count=9)))
    >>> given = torch.tensor([[7, 8], [0, 3]])
    >>> Constrained(model, Prefix(given, 9)).sample(2, noise=KeyedNoise(0, torch.arange(2)))[:, :2].tolist()
    [[7, 8], [0, 3]]
    """

    def __init__(self, levels: Tensor, count: int) -> None:
        self.levels, self.count = levels, count

    def start(self, n: int, condition: Tree | None = None, *, device: torch.device | None = None) -> Tree:
        if n != len(self.levels):
            raise SpaceError(f"prefix: expected {n} rows, one per sample, found {len(self.levels)}.")
        return {"given": self.levels.to(device), "position": torch.zeros(n, dtype=torch.int64, device=device)}

    def allowed(self, state: Tree) -> Tensor:
        assert isinstance(state, dict)
        given, position = state["given"], state["position"]
        here = given.gather(1, position.clamp(max=given.shape[1] - 1)[:, None])
        return (torch.arange(self.count, device=here.device) == here) | (position >= given.shape[1])[:, None]

    def advance(self, state: Tree, level: Tensor) -> Tree:
        assert isinstance(state, dict)
        return {**state, "position": state["position"] + 1}


def _name(model: object) -> str:
    likelihood = getattr(model, "likelihood", None)
    return type(model).__name__ + (f" of {type(likelihood).__name__}" if likelihood is not None else "")
