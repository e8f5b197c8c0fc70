"""Options of sampling: what may change between one draw and the next without fitting anew.

A family's config has them under `sampler`, and its model reads them each time it samples. Another choice is a view of
the model that shares its weights:

>>> import torch
>>> from maquette.core.families.diffusion.edm import EDMConfig
>>> from maquette.core.spaces import Vector
>>> model = EDMConfig.example().build(Vector(dim=2))
>>> fine = with_sampler(model, ["sampler.steps=50"])
>>> model.sampler.steps, fine.sampler.steps, fine.network is model.network
(4, 50, True)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field
from torch import nn

from ..capabilities import Steerable
from ..config import Config, override, parse
from ..errors import ConfigError, did_you_mean
from ..samplers.ode import INTEGRATORS, Integrator, Method, heun_to_zero
from ..samplers.schedules import karras_schedule, linear_schedule


class SamplerConfig(Config):
    """Base of the configs of sampling.

    >>> SamplerConfig(temperature=0.9)
    SamplerConfig(temperature=0.9)
    """

    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="factor on the deviation of the noise from its mean"
    )


class ODESamplerConfig(SamplerConfig):
    """Equal steps along an ODE.

    >>> ODESamplerConfig(steps=2).times(0.0, 1.0)
    [0.0, 0.5, 1.0]
    """

    method: Method = Field(default="midpoint", description="integrator of the sampler")
    steps: int = Field(default=10, ge=1, description="steps of the sampler; midpoint and heun evaluate twice per step")

    @property
    def integrator(self) -> Integrator:
        return INTEGRATORS[self.method]

    def times(self, t0: float, t1: float) -> list[float]:
        """The times between which steps are taken, from noise at t0 to data at t1."""
        return linear_schedule(t0, t1, self.steps)


Guidance = Annotated[
    float,
    Field(
        ge=-1,
        allow_inf_nan=False,
        description="weight w of classifier-free guidance: (1 + w) times the conditional field minus w times the "
        "unconditional one; 0 is the conditional model, -1 the unconditional one",
    ),
]
"""Ho & Salimans, arXiv:2207.12598, eq. 6."""


class GuidedSamplerConfig(ODESamplerConfig):
    """Equal steps along an ODE whose field is guided by the condition.

    >>> GuidedSamplerConfig(guidance=2.0).times(0.0, 1.0)[:2]
    [0.0, 0.1]
    """

    guidance: Guidance = 0.0


class KarrasSamplerConfig(SamplerConfig):
    """Heun's steps between falling noise levels, and one of Euler's to zero (Karras et al., arXiv:2206.00364).

    >>> [round(level, 2) for level in KarrasSamplerConfig(steps=3).times(80.0, 0.002)]
    [80.0, 2.52, 0.0, 0.0]
    """

    steps: int = Field(default=18, ge=2, description="steps of the sampler; 2 steps - 1 evaluations")
    rho: float = Field(default=7.0, gt=0, description="a larger one makes finer steps at small noise (eq. 5)")
    guidance: Guidance = 0.0

    @property
    def integrator(self) -> Integrator:
        return heun_to_zero

    def times(self, t0: float, t1: float) -> list[float]:
        """Noise levels from t0 to t1, and zero."""
        return karras_schedule(self.steps, t1, t0, self.rho)


M = TypeVar("M", bound=nn.Module)


def share(model: M, **changes: Any) -> M:
    """A view of a module with other attributes; it shares all weights, and parts that are changed stay as they were.

    >>> line = nn.Linear(1, 1)
    >>> view = share(line, in_features=7)
    >>> view.in_features, line.in_features, view.weight is line.weight
    (7, 1, True)
    """
    view = copy.copy(model)
    view._modules = dict(model._modules)
    for name, value in changes.items():
        setattr(view, name, value)
    return view


def sampler_options(model: nn.Module) -> dict[str, Any]:
    """The options of sampling of a model and its parts by their path, to record with samples.

    >>> from maquette.core.families import families
    >>> from maquette.core.spaces import Vector
    >>> sampler_options(families.get("flow-matching")(sampler={"steps": 4}).build(Vector(dim=2)))
    {'sampler.temperature': 1.0, 'sampler.method': 'midpoint', 'sampler.steps': 4, 'sampler.guidance': 0.0}
    """
    if isinstance(model, Steerable):  # its parts sample as it says
        return {f"sampler.{key}": value for key, value in model.sampler.model_dump(mode="json").items()}
    parts = {name: sampler_options(part) for name, part in model.named_children()}
    return {f"{name}.{path}": value for name, options in parts.items() for path, value in options.items()}


def with_sampler(model: M, words: Sequence[str]) -> M:
    """A view of a model, sharing all weights, that samples with other options.

    Args:
        model: a family's model, or a module that contains some.
        words: PATH=VALUE, such as `sampler.steps=50`, or `second.sampler.guidance=2` in a chain; paths are those of
            `sampler_options`.

    Raises:
        ConfigError: a path that names no option, or a value that it cannot have.

    >>> from maquette.core.families import families
    >>> from maquette.core.spaces import Vector
    >>> model = families.get("flow-matching")().build(Vector(dim=2))
    >>> with_sampler(model, ["sampler.method=euler"]).sampler.method
    'euler'
    >>> with_sampler(model, ["sampler.stepz=3"])
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: sampler.stepz: there is no such option of sampling. Did you mean ...
    """
    known = list(sampler_options(model))
    for word in words:
        path = word.partition("=")[0]
        if path not in known:
            listed = f" Known: {', '.join(known)}." if known else " This model has none."
            raise ConfigError(f"{path}: there is no such option of sampling.{did_you_mean(path, known)}{listed}")
    return _steered(model, override({}, list(words))) if words else model


def _steered(model: M, changes: Mapping[str, Any]) -> M:
    if isinstance(model, Steerable):
        return model.with_sampler(**changes["sampler"])
    return share(model, **{name: _steered(getattr(model, name), below) for name, below in changes.items()})


def changed(sampler: SamplerConfig, overrides: Mapping[str, Any]) -> SamplerConfig:
    """The same options but for some; raises `ConfigError`.

    >>> changed(ODESamplerConfig(), {"steps": 3}).steps
    3
    """
    return parse(type(sampler), {**sampler.model_dump(), **overrides}, where="sampler")
