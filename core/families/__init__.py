"""Generative families, one file per algorithm; the registry `families` finds them by walking this package."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import SerializeAsAny
from torch import nn

from ..config import Config
from ..registry import ByKind, Registry
from ..spaces import Space


class FamilyConfig(Config):
    """Base of every family's config; the subclass adds `kind: Literal[...]` and the family's own keys.

    Attributes:
        summary: one line for `maquette list families`.
        reference: the paper.
        spaces: names of the spaces it can model ("vector", "field", ...).
        supports: names of the supports it can model ("real", "binary", "levels", "interval", "torus").
        model: the class that `build` returns; its methods are the family's capabilities.
        tolerance: accuracy that the laws demand: "exact" (1e-10), "ode" (1e-3) or "estimator" (4 standard errors).
        tolerances: numbers for the laws "inverse" and "log-det", where `tolerance` is too loose or too tight for them.
        unbiased: of a family with a lower bound, whether the mean of exp(log_bound) is the density; false where the
            posterior is a single point.

    >>> config: FamilyConfig = families.get("spline")(transforms=2, hidden=(16,))
    >>> config.kind, config.supports
    ('spline', ('real', 'interval'))
    """

    summary: ClassVar[str]
    reference: ClassVar[str]
    spaces: ClassVar[tuple[str, ...]]
    model: ClassVar[type[nn.Module]]
    supports: ClassVar[tuple[str, ...]] = ("real",)
    tolerance: ClassVar[str] = "exact"
    tolerances: ClassVar[dict[str, float]] = {}
    unbiased: ClassVar[bool] = True

    @abstractmethod
    def build(self, space: Space, condition: Space | None = None) -> nn.Module:
        """Return the untrained model of samples of `space` given `condition`; raises `ConfigError`."""

    def samples(self, space: Space) -> Space:
        """The space of the samples that the model draws, where it was built for `space`.

        It is another one for a family that is trained on parts of what it samples, such as slices of a volume.

        >>> from maquette.core.spaces import Vector
        >>> families.get("spline")().samples(Vector(dim=2))
        Vector(kind='vector', dim=2, support=Real(kind='real'))
        """
        return space

    @classmethod
    def example(cls) -> FamilyConfig:
        """A small config, quick to build, on which the laws are checked."""
        return cls()


families: Registry[type[FamilyConfig]] = Registry("family", package=__name__, group="maquette.families")

AnyFamily = Annotated[SerializeAsAny[FamilyConfig], ByKind(families)]
"""Field type of a config that holds a family's config."""
