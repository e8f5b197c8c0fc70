"""Gated PixelCNN: a field is drawn pixel by pixel, by masked convolutions over the pixels before.

van den Oord et al., "Conditional image generation with PixelCNN decoders", arXiv:1606.05328. A vertical stack of
convolutions sees the rows above. A horizontal stack sees the pixels to the left and the vertical stack. Together they
see all pixels before, without a blind spot.

Three parts of PixelCNN++ (Salimans et al., arXiv:1701.05517) are options: `likelihood: {kind: logistic-mixture}`,
`skips` between layers of the first and the second half, and `dropout`. The model is not PixelCNN++: there is no down-
and upsampling (`dilations` enlarge the receptive field instead), and each channel has a mixture of its own, where the
paper has one for all three with means linear in earlier channels.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, Likelihood, likelihood_of
from ...nets.causal import CausalConv2d, ConvCache, gate, shift
from ...nets.triangular import ChannelHead
from ...samplers.ancestral import Step
from ...spaces import Field, Space
from .. import FamilyConfig, families
from .model import Autoregressive, apply_mask
from .raster import raster


class _LayerOptions(NamedTuple):
    """Arguments of one layer of one stack besides its inputs."""

    bias: Tensor | None  # (B, 2 F, 1, 1), from the context, added before the gate
    mask: Tensor | None  # (B, F, 1, 1), dropout mask of the gated features


def _added(*terms: Tensor | None) -> Tensor:
    """The sum of the terms that are not None."""
    first, *others = (term for term in terms if term is not None)
    return sum(others, first)


class _VerticalLayer(nn.Module):
    """Gated residual layer of the vertical stack, which sees the rows above (Fig. 2 of the paper, left).

    Args:
        channels: F, channels of each stack.
        kernel: pixels seen along a row; `kernel // 2 + 1` rows are seen.
        dilation: distance of the pixels seen.
        periodic: whether rows wrap.
        skip: whether it also sees an earlier layer.
    """

    def __init__(self, channels: int, kernel: int, dilation: int, *, periodic: bool, skip: bool) -> None:
        super().__init__()
        self.conv = CausalConv2d(
            channels, 2 * channels, kernel // 2 + 1, dim=2, cross_size=kernel, dilation=dilation, periodic=periodic
        )
        self.skip = nn.Conv2d(channels, 2 * channels, 1) if skip else None
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(
        self, v: Tensor, earlier: Tensor | None, options: _LayerOptions, cache: ConvCache | None
    ) -> tuple[Tensor, Tensor]:
        """Features (B, F, H, W) to the layer's output (B, F, H, W) and its link to the other stack (B, 2 F, H, W)."""
        before = _added(self.conv(v, cache), options.bias, None if self.skip is None else self.skip(earlier))
        return v + apply_mask(gate(before), options.mask), self.link(before)


class _HorizontalLayer(nn.Module):
    """Gated residual layer of the horizontal stack, which sees the vertical stack and pixels to the left (Fig. 2)."""

    def __init__(self, channels: int, kernel: int, dilation: int, *, skip: bool) -> None:
        super().__init__()
        self.conv = CausalConv2d(channels, 2 * channels, kernel // 2 + 1, dim=3, dilation=dilation)
        self.skip = nn.Conv2d(channels, 2 * channels, 1) if skip else None
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(
        self, h: Tensor, link: Tensor, earlier: Tensor | None, options: _LayerOptions, cache: ConvCache | None
    ) -> Tensor:
        """Features (B, F, H, W) and the vertical layer's `link` (B, 2 F, H, W) to features (B, F, H, W)."""
        before = _added(self.conv(h, cache), link, options.bias, None if self.skip is None else self.skip(earlier))
        return h + self.output(apply_mask(gate(before), options.mask))


class PixelCNN(nn.Module):
    """The network: inputs (B, D, K) in raster order and context (B, C) to parameters (B, D, P).

    Args:
        field: of two axes.
        context_features: C, features of the context.
        likelihood: of each feature.
        config: sizes.

    >>> from maquette.core.likelihoods.bernoulli import Bernoulli
    >>> config = PixelCNNConfig(channels=4, depth=1)
    >>> network = PixelCNN(Field(channels=1, grid=(4, 4)), 0, Bernoulli(), config)
    >>> network(torch.zeros(2, 16, 1), None).shape
    torch.Size([2, 16, 1])
    """

    def __init__(self, field: Field, context_features: int, likelihood: Likelihood, config: PixelCNNConfig) -> None:
        super().__init__()
        self.height, self.width = field.grid
        self.data_channels, self.embed_dim, self.dropout = field.channels, likelihood.embed_dim, config.dropout
        periodic = bool(field.periodic) and field.periodic[1]
        channels, depth = config.channels, config.depth
        self.dropout_shape = (depth, 2, channels)
        inputs = self.data_channels * self.embed_dim + 1  # the last one is 1 inside of the field, 0 in the padding
        self.embed_above = CausalConv2d(
            inputs, channels, config.first_kernel // 2, dim=2, cross_size=config.first_kernel, periodic=periodic
        )
        self.embed_left = CausalConv2d(inputs, channels, config.first_kernel // 2, dim=3)
        dilations = [config.dilations[i % len(config.dilations)] for i in range(depth)]
        self.skips = [config.skips and i > depth - 1 - i for i in range(depth)]
        self.vertical = nn.ModuleList(
            _VerticalLayer(channels, config.kernel, dilation, periodic=periodic, skip=skip)
            for dilation, skip in zip(dilations, self.skips, strict=True)
        )
        self.horizontal = nn.ModuleList(
            _HorizontalLayer(channels, config.kernel, dilation, skip=skip)
            for dilation, skip in zip(dilations, self.skips, strict=True)
        )
        self.context_proj = nn.Linear(context_features, 4 * channels * depth, bias=False) if context_features else None
        self.head = ChannelHead(self.data_channels, self.embed_dim, channels, likelihood.parameters)

    def extra_repr(self) -> str:
        return f"grid=({self.height}, {self.width}), skips={any(self.skips)}, dropout={self.dropout}"

    def forward(self, inputs: Tensor, context: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Parameters (B, D, P); `mask` (B, *dropout_shape) multiplies features."""
        grid = inputs.reshape(inputs.shape[0], self.height, self.width, -1).permute(0, 3, 1, 2)
        grid = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=1)
        options = self._options(context, mask)
        links = self._vertical(self.embed_above(shift(grid, 2)), options)
        h = self._horizontal(self.embed_left(shift(grid, 3)), links, options)
        pixels = inputs.reshape(-1, self.data_channels, self.embed_dim)
        return self.head(pixels, h.permute(0, 2, 3, 1).flatten(0, 2)).reshape(*inputs.shape[:2], -1)

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw (`Incremental`); keeps the features of earlier rows and pixels."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        options = self._options(context, None)
        blank = like.new_zeros(like.shape[0], self.data_channels * self.embed_dim + 1, 1, 1)
        row, rows = blank.expand(-1, -1, -1, self.width), ConvCache()
        for _ in range(self.height):
            links = self._vertical(self.embed_above(row, rows), options, rows)
            pixels, left = [blank], ConvCache()
            for column in range(self.width):
                here = [link[..., column : column + 1] for link in links]
                h = self._horizontal(self.embed_left(pixels[-1], left), here, options, left)
                drawn = like.new_zeros(like.shape[0], self.data_channels, self.embed_dim)
                for channel in range(self.data_channels):
                    drawn[:, channel] = yield self.head(drawn, h.flatten(1))[:, channel]
                pixels.append(torch.cat((drawn.flatten(1), torch.ones_like(drawn[:, 0, :1])), dim=1)[..., None, None])
            row = torch.cat(pixels[1:], dim=3)

    def _vertical(self, v: Tensor, options: list[list[_LayerOptions]], cache: ConvCache | None = None) -> list[Tensor]:
        """The vertical stack: the link of each layer to the horizontal stack, (B, 2 F, H, W)."""
        outputs, links = [], []
        for i, layer in enumerate(self.vertical):
            v, link = layer(v, self._earlier(i, outputs), options[i][0], cache)
            outputs.append(v)
            links.append(link)
        return links

    def _horizontal(
        self, h: Tensor, links: list[Tensor], options: list[list[_LayerOptions]], cache: ConvCache | None = None
    ) -> Tensor:
        """The horizontal stack: features (B, F, H, W) of each pixel, computed from all pixels before it."""
        outputs = []
        for i, layer in enumerate(self.horizontal):
            h = layer(h, links[i], self._earlier(i, outputs), options[i][1], cache)
            outputs.append(h)
        return h

    def _earlier(self, i: int, outputs: list[Tensor]) -> Tensor | None:
        """The output of the layer in the first half that mirrors layer i, if layer i has a skip."""
        return outputs[len(self.skips) - 1 - i] if self.skips[i] else None

    def _options(self, context: Tensor | None, mask: Tensor | None) -> list[list[_LayerOptions]]:
        """By layer and stack, vertical first."""
        depth = len(self.skips)
        biases = None if self.context_proj is None else self.context_proj(context).unflatten(1, (depth, 2, -1))

        def at(layer: int, stack: int) -> _LayerOptions:
            return _LayerOptions(
                *(None if each is None else each[:, layer, stack, :, None, None] for each in (biases, mask))
            )

        return [[at(layer, 0), at(layer, 1)] for layer in range(depth)]


@families.register("pixelcnn")
class PixelCNNConfig(FamilyConfig):
    """Gated PixelCNN.

    >>> from maquette.core.likelihoods.logistic import LogisticMixtureConfig
    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Levels
    >>> config = PixelCNNConfig(channels=8, depth=2, skips=True, likelihood=LogisticMixtureConfig(components=3))
    >>> model = config.build(Field(channels=1, grid=(4, 4), support=Levels(count=256)))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 1, 4, 4]), torch.Size([2]))
    """

    summary: ClassVar[str] = (
        "fields pixel by pixel, by gated convolutions over the rows above and the pixels to the left"
    )
    reference: ClassVar[str] = "van den Oord et al., arXiv:1606.05328; Salimans et al., arXiv:1701.05517"
    spaces: ClassVar[tuple[str, ...]] = ("field",)
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["pixelcnn"] = "pixelcnn"
    channels: int = Described(default=64, ge=1, description="channels of either stack")
    depth: int = Described(default=10, ge=1, description="gated layers")
    kernel: int = Described(default=5, ge=3, description="pixels that a layer sees along a row, odd")
    first_kernel: int = Described(default=7, ge=3, description="pixels that the first convolution sees in a row, odd")
    dilations: tuple[int, ...] = Described(default=(1,), min_length=1, description="of the layers in turn, repeated")
    skips: bool = Described(default=False, description="layers of the second half see those of the first, mirrored")
    dropout: float = Described(
        default=0.0, ge=0, lt=1, description="probability with which a layer's channels are dropped in training"
    )
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        if not isinstance(space, Field) or len(space.grid) != 2:
            found = f"one of {len(space.grid)}" if isinstance(space, Field) else f"a {space.kind}"
            raise ConfigError(f"pixelcnn: expected a field of 2 axes, found {found}; use transformer or recurrent.")
        for name, side in (("kernel", self.kernel), ("first_kernel", self.first_kernel)):
            if side % 2 == 0:
                raise ConfigError(f"pixelcnn.{name}: expected an odd number of pixels, found {side}; try {side + 1}.")
        if min(self.dilations) < 1:
            raise ConfigError(f"pixelcnn.dilations: expected distances from 1 on, found {list(self.dilations)}.")
        likelihood = likelihood_of(layout.support, self.likelihood)
        network = PixelCNN(space, layout.context_features, likelihood, self)
        return Autoregressive(layout, likelihood, network, raster(space))

    @classmethod
    def example(cls) -> PixelCNNConfig:
        return cls(channels=6, depth=3, kernel=3, first_kernel=5, dilations=(1, 2), skips=True)
