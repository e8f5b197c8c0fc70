"""Backbones: networks on flattened samples, chosen by `kind` in the configs of families.

Every backbone has `forward(x, time, context) -> (B, D)` with x (B, D), time (B,) or None and context (B, C) or None.
It starts as the zero function.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import SerializeAsAny
from torch import nn

from ..config import Config
from ..registry import ByKind, Registry
from ..spaces import Space


class NetworkConfig(Config):
    """Base of every backbone's config; a subclass adds `kind: Literal[...]` and the keys of its network.

    Attributes:
        summary: one line for listings.

    >>> import torch
    >>> from maquette.core.spaces import Vector
    >>> config: NetworkConfig = networks.get("residual")(width=16)
    >>> network = config.build(Vector(dim=2), time=True)
    >>> network(torch.ones(3, 2), torch.zeros(3), None)[0].tolist()  # zero before training
    [0.0, 0.0]
    """

    summary: ClassVar[str]

    @abstractmethod
    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> nn.Module:
        """Return the network for samples of `space`, which also takes a time if `time` is set; raises `ConfigError`."""


networks: Registry[type[NetworkConfig]] = Registry("network", package=__name__, group="maquette.networks")

AnyNetwork = Annotated[SerializeAsAny[NetworkConfig], ByKind(networks)]
"""Field type of a config that holds a backbone's config."""
