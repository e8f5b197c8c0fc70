"""Backbones: networks on flattened samples, chosen by `kind` in the configs of families.

Every backbone has `forward(x, time, context) -> (B, D)` with x (B, D), time (B,) or None and a `Context`, empty without
condition. It starts as the zero function. One that can serve samples of other grids has a method `at(space)`, which
returns the network for those with the same weights.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, cast

from pydantic import SerializeAsAny
from torch import nn

from ..config import Config, kind_of
from ..errors import ConfigError
from ..layout import Layout
from ..registry import ByKind, Registry
from ..spaces import Space


class NetworkConfig(Config):
    """Base of every backbone's config; a subclass adds `kind: Literal[...]` and the keys of its network.

    Attributes:
        summary: one line for listings.
        takes_fields: whether the network takes conditions that are fields on the grid of the samples.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> config: NetworkConfig = networks.get("residual")(width=16)
    >>> network = config.build(Vector(dim=2), time=True)
    >>> network(torch.ones(3, 2), torch.zeros(3))[0].tolist()  # zero before training
    [0.0, 0.0]
    """

    summary: ClassVar[str]
    takes_fields: ClassVar[bool] = False

    @abstractmethod
    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> nn.Module:
        """Return the network for samples of `space`, which also takes a time if `time` is set; raises `ConfigError`."""

    def layout(self, space: Space, condition: Space | None) -> Layout:
        """The layout for which `build` makes the network.

        Raises:
            ConfigError: a condition that is a field on the grid of the samples, for a network that takes none.

        >>> from maquette.core.spaces import Field
        >>> density = Field(channels=1, grid=(8, 8))
        >>> networks.get("mlp")().layout(density, condition=density)
        Traceback (most recent call last):
        maquette.core.errors.ConfigError: mlp: this network takes no field as a condition; take one of ['unet'].
        """
        layout = Layout(space, condition)
        if layout.field_conditions and not self.takes_fields:
            able = [name for name, config in networks.items() if config.takes_fields]
            raise ConfigError(f"{kind_of(self)}: this network takes no field as a condition; take one of {able}.")
        return layout


def at(network: nn.Module, space: Space) -> nn.Module:
    """The network for samples of another grid, with the same weights.

    Raises:
        ConfigError: weights that belong to one grid, such as learned positions.

    >>> from maquette.core.spaces import Vector
    >>> at(networks.get("mlp")().build(Vector(dim=2)), Vector(dim=2))
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: at: the weights of MLPBackbone belong to one grid; fit a network for any, such ...
    """
    if not callable(getattr(network, "at", None)):
        name = type(network).__name__
        raise ConfigError(f"at: the weights of {name} belong to one grid; fit a network for any, such as unet.")
    return cast(Any, network).at(space)


networks: Registry[type[NetworkConfig]] = Registry("network", package=__name__, group="maquette.networks")

AnyNetwork = Annotated[SerializeAsAny[NetworkConfig], ByKind(networks)]
"""Field type of a config that holds a backbone's config."""
