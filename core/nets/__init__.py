"""Backbones: networks on the flattened values of a space, chosen by `kind` in the configs of families.

Every backbone has `forward(x, time, condition) -> (B, D)` with x (B, D), time (B,) or None and condition (B, C) or
None, and starts as the zero function.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ..config import Config
from ..registry import Registry
from ..spaces import Space


class NetworkConfig(Config):
    """Base of every backbone's config; the subclass adds `kind: Literal[...]` and the network's own keys.

    Attributes:
        summary: one line for listings.
    """

    summary: ClassVar[str]

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> nn.Module:
        """Return the network for samples of `space`, fed a time in addition if `time`; raises `ConfigError`."""
        raise TypeError(f"{type(self).__name__} does not define build(space, condition, time).")


networks: Registry[type[NetworkConfig]] = Registry("network", package=__name__, group="maquette.networks")
