"""A U-Net on fields of one to three axes: the same weights at any grid, and translation equivariance where axes wrap.

Two paths of residual blocks join level by level, from the samples' grid to coarser ones and back (Ronneberger, Fischer
& Brox, arXiv:1505.04597), with group normalisation and self-attention at chosen levels (Ho, Jain & Abbeel,
arXiv:2006.11239; Song et al., arXiv:2011.13456). Time and features of the condition scale and shift what is normalised
(Dhariwal & Nichol, arXiv:2105.05233, section 3). Fields among the conditions are further channels of the input.

Periodic axes wrap; the others are padded with zeros. There are no positions: attention knows cells by their content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Width
from ..context import NO_CONTEXT, Context
from ..errors import ConfigError
from ..layout import Layout, parts
from ..spaces import Field, Space
from . import NetworkConfig, networks
from .attention import Attention, require_heads
from .conv import CONVOLUTIONS, Convolution, downsampling, pyramid, upsampling
from .embeddings import Conditioner, Modulation
from .init import zero_init


class ModulatedBlock(nn.Module):
    """A residual block whose second normalisation is scaled and shifted by conditioning features; starts as its skip.

    Args:
        field: gives the axes and says which wrap.
        in_channels: I.
        out_channels: O.
        features: F, conditioning features.
        groups: of the normalisation; they divide I and O.

    >>> block = ModulatedBlock(Field(channels=1, grid=(8,)), in_channels=4, out_channels=6, features=3, groups=2)
    >>> block(torch.zeros(5, 4, 8), torch.zeros(5, 3)).shape
    torch.Size([5, 6, 8])
    """

    fsdp_unit: ClassVar[bool] = True

    def __init__(self, field: Field, in_channels: int, out_channels: int, features: int, groups: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(groups, in_channels)
        self.first = Convolution(field, in_channels, out_channels)
        self.modulation = Modulation(features, out_channels, 2)
        self.second_norm = nn.GroupNorm(groups, out_channels)
        self.second = zero_init(Convolution(field, out_channels, out_channels))
        alike = in_channels == out_channels
        self.skip = nn.Identity() if alike else CONVOLUTIONS[len(field.grid)](in_channels, out_channels, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """x (B, I, *grid) and features (B, F) to (B, O, *grid)."""
        over_grid = (...,) + (None,) * (x.ndim - 2)
        shift, scale = (tensor[over_grid] for tensor in self.modulation(features))
        hidden = self.first(F.silu(self.first_norm(x)))
        hidden = self.second_norm(hidden) * (1 + scale) + shift
        return self.skip(x) + self.second(F.silu(hidden))


class GridAttention(nn.Module):
    """Self-attention between the cells of a grid, without positions, added to its input; starts as the identity.

    >>> attention = GridAttention(channels=4, heads=2, groups=2)
    >>> x = torch.randn(3, 4, 2, 5)
    >>> torch.equal(attention(x), x)
    True
    """

    fsdp_unit: ClassVar[bool] = True

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attention = Attention(channels, heads)
        zero_init(self.attention.out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, *grid) to the same."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).reshape(x.shape)


class _Level(nn.Module):
    """Residual blocks on one grid, each followed by attention if the level has it."""

    def __init__(self, blocks: Sequence[ModulatedBlock], attention: Sequence[GridAttention]) -> None:
        super().__init__()
        self.blocks, self.attention = nn.ModuleList(blocks), nn.ModuleList(attention)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x, features)
            if self.attention:
                x = self.attention[i](x)
        return x


class UNetBody(nn.Module):
    """All weights of a U-Net: channels on any grid that the strides divide, to as many channels on the same grid.

    Args:
        field: of the samples; of its grid only the number of axes matters here, and which of them wrap.
        in_channels: I, channels of the samples and of the fields among the conditions.
        context_features: C, features of the context; 0 for none.
        config: widths, depth, strides and attention.
        time: whether a time is given.

    >>> config = UNetConfig(widths=(4, 8), strides=(2,), groups=2, attention=(1,), heads=2)
    >>> body = UNetBody(Field(channels=1, grid=(8,)), 1, 0, config, time=False)
    >>> body(torch.zeros(3, 1, 8), None, None).shape, body(torch.zeros(3, 1, 20), None, None).shape
    (torch.Size([3, 1, 8]), torch.Size([3, 1, 20]))
    """

    def __init__(
        self, field: Field, in_channels: int, context_features: int, config: UNetConfig, *, time: bool
    ) -> None:
        super().__init__()
        widths, strides, features = config.widths, config.strides, 4 * config.widths[0]
        self.conditioner = Conditioner(context_features, features, time=time)
        self.input = Convolution(field, in_channels, widths[0])

        def level(number: int, in_widths: Sequence[int]) -> _Level:
            width = widths[number]
            attention = [
                GridAttention(width, config.heads, config.groups) for _ in in_widths if number in config.attention
            ]
            blocks = [ModulatedBlock(field, each, width, features, config.groups) for each in in_widths]
            return _Level(blocks, attention)

        inner = range(len(strides))
        depth = config.depth
        self.down = nn.ModuleList(level(i, depth * [widths[i]]) for i in inner)
        self.coarser = nn.ModuleList(downsampling(field, widths[i], widths[i + 1], strides[i]) for i in inner)
        self.middle = level(len(strides), 2 * depth * [widths[-1]])
        self.finer = nn.ModuleList(upsampling(field, widths[i + 1], widths[i], strides[i]) for i in inner)
        self.up = nn.ModuleList(level(i, [2 * widths[i], *(depth - 1) * [widths[i]]]) for i in inner)
        self.norm = nn.GroupNorm(config.groups, widths[0])
        self.output = zero_init(Convolution(field, widths[0], field.channels))

    def forward(self, x: Tensor, time: Tensor | None, vector: Tensor | None) -> Tensor:
        """x (B, I, *grid), time (B,) and the features of the context (B, C) to (B, channels, *grid)."""
        features = self.conditioner(x, time, vector)
        x, kept = self.input(x), []
        for level, coarser in zip(self.down, self.coarser, strict=True):
            x = level(x, features)
            kept.append(x)
            x = coarser(x)
        x = self.middle(x, features)
        for i in reversed(range(len(kept))):
            x = self.up[i](torch.cat((self.finer[i](x), kept[i]), dim=1), features)
        return self.output(F.silu(self.norm(x)))


class UNet(nn.Module):
    """The network: flattened samples (B, D) of one grid to (B, D), given time (B,) and context.

    Args:
        field: samples as one field; several fields on one grid are its channels.
        body: holds all weights, whatever the grid.
        strides: of the body.

    >>> field = Field(channels=1, grid=(8, 8), periodic=(True, True))
    >>> network: UNet = UNetConfig(widths=(4, 8), strides=(2,), groups=2, attention=()).build(field, field, time=True)
    >>> density = Context(fields=torch.zeros(3, 1, 8, 8))
    >>> network(torch.zeros(3, 64), torch.zeros(3), density).shape
    torch.Size([3, 64])
    """

    def __init__(self, field: Field, body: UNetBody, strides: Sequence[int]) -> None:
        super().__init__()
        pyramid(field, strides, where="unet.strides")
        self.field, self.body, self.strides = field, body, tuple(strides)

    def extra_repr(self) -> str:
        return f"channels={self.field.channels}, grid={self.field.grid}, strides={self.strides}"

    def at(self, space: Space) -> UNet:
        """The network for samples of another grid, with the same weights.

        Raises:
            ConfigError: a grid that the strides do not divide, or other channels.

        >>> config = UNetConfig(widths=(4, 8), strides=(2,), groups=2, attention=())
        >>> network = config.build(Field(channels=1, grid=(8,)))
        >>> network.at(Field(channels=1, grid=(20,)))(torch.zeros(3, 20)).shape
        torch.Size([3, 20])
        """
        Layout(self.field).at(field := _one_field(space))
        return UNet(field, self.body, self.strides)

    def forward(self, x: Tensor, time: Tensor | None = None, context: Context = NO_CONTEXT) -> Tensor:
        """x (B, D), time (B,) and context to (B, D)."""
        channels = x.unflatten(1, self.field.shape)
        if context.fields is not None:
            channels = torch.cat((channels, context.fields), dim=1)
        return self.body(channels, time, context.vector).flatten(1)


def _one_field(space: Space) -> Field:
    """Fields on one grid of one to three axes as the channels of a single one."""
    fields = [part for _, part in parts(space) if isinstance(part, Field)]
    grids = {(part.grid, part.periodic) for part in fields}
    if len(fields) < len(parts(space)) or len(grids) > 1 or len(fields[0].grid) not in CONVOLUTIONS:
        found = [str(list(part.grid)) if isinstance(part, Field) else f"a {part.kind}" for _, part in parts(space)]
        raise ConfigError(f"unet: expected fields on one grid of one to three axes, found {', '.join(found)}.")
    return fields[0].model_copy(update={"channels": sum(part.channels for part in fields)})


@networks.register("unet")
class UNetConfig(NetworkConfig):
    """U-Net.

    >>> config = UNetConfig(widths=(4, 8), strides=(2,), attention=(1,), heads=2, groups=2)
    >>> config.build(Field(channels=1, grid=(4, 6)))(torch.zeros(3, 24)).shape
    torch.Size([3, 24])
    """

    summary: ClassVar[str] = "U-Net on fields of one to three axes, periodic where they are, at any size"
    takes_fields: ClassVar[bool] = True

    kind: Literal["unet"] = "unet"
    widths: tuple[Width, ...] = Described(
        default=(32, 64, 128),
        min_length=1,
        description="channels at each level, from the samples' grid on",
    )
    strides: tuple[Annotated[int, Described(ge=2)], ...] = Described(
        default=(2, 2), description="how much coarser each level is than the one before; one fewer than `widths`"
    )
    depth: int = Described(default=2, ge=1, description="residual blocks at a level, on each of the two paths")
    attention: tuple[int, ...] = Described(
        default=(2,),
        description="levels with self-attention, 0 the samples' grid; costs cells squared",
    )
    heads: int = Described(default=4, ge=1, description="attention heads; they divide the widths of those levels")
    groups: int = Described(default=8, ge=1, description="groups of the normalisation; they divide every width")

    def build(self, space: Space, condition: Space | None = None, *, time: bool = False) -> UNet:
        if len(self.strides) != len(self.widths) - 1:
            raise ConfigError(
                f"unet.strides: expected {len(self.widths) - 1}, one fewer than widths, found {len(self.strides)}."
            )
        if any(width % self.groups for width in self.widths):
            raise ConfigError(f"unet.groups: {self.groups} groups do not divide widths of {list(self.widths)}.")
        for number in self.attention:
            if not 0 <= number < len(self.widths):
                raise ConfigError(f"unet.attention: there are levels 0 to {len(self.widths) - 1}, found {number}.")
            require_heads("unet", self.widths[number], self.heads)
        layout, field = self.layout(space, condition), _one_field(space)
        body = UNetBody(field, field.channels + layout.field_channels, layout.vector_features, self, time=time)
        return UNet(field, body, self.strides)
