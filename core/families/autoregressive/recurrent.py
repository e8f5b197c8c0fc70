"""Recurrent network (LSTM or GRU) over the features drawn so far, in raster order on a field.

Over a vocabulary it is the character model of Graves, "Generating sequences with recurrent neural networks",
arXiv:1308.0850. Over a field it is one LSTM along the raster scan, whose inputs may include, besides the feature
before, those one pixel back along every axis, such as the pixel above. It is not a PixelRNN (van den Oord et al.,
arXiv:1601.06759), whose Row LSTM and Diagonal BiLSTM are two-dimensional. The context sets the initial state and is an
input of every step.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...likelihoods import AnyLikelihood, Likelihood
from ...nets.init import zero_init
from ...samplers.ancestral import Step
from ...spaces import Field, Space
from .. import FamilyConfig, families
from .legal import features_of
from .model import Autoregressive
from .raster import neighbours, raster

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Args:
        features: D.
        neighbours: inputs of each feature besides the feature before it, as indices (D, N); D where there is none.
        context_features: C, features of the context.
        likelihood: of each feature.
        config: sizes.

    >>> from maquette.core.likelihoods.bernoulli import Bernoulli
    >>> no_neighbours = torch.zeros(4, 0, dtype=torch.int64)
    >>> network = Recurrent(4, no_neighbours, 0, Bernoulli(), RecurrentConfig(width=8))
    >>> network(torch.zeros(2, 4, 1), None).shape
    torch.Size([2, 4, 1])
    """

    neighbours: Tensor

    no_weight_decay: ClassVar[tuple[str, ...]] = ("positions", "embed")

    def __init__(
        self,
        features: int,
        neighbours: Tensor,
        context_features: int,
        likelihood: Likelihood,
        config: RecurrentConfig,
    ) -> None:
        super().__init__()
        self.register_buffer("neighbours", neighbours, persistent=False)
        width = config.width
        # for one-hot inputs this is an embedding, so it is initialised as nn.Embedding is
        self.embed = nn.Linear(likelihood.embed_dim * (1 + neighbours.shape[1]), width, bias=False)
        nn.init.normal_(self.embed.weight)
        self.positions = nn.Parameter(torch.zeros(features, width))
        self.context_proj = nn.Linear(context_features, width, bias=False) if context_features else None
        self.initial_state = nn.Linear(context_features, config.depth * width) if context_features else None
        self.cell: Any = CELLS[config.cell](width, width, config.depth, batch_first=True)
        if config.cell == "lstm":
            # forget gates start open, to pass gradients over many steps (Gers et al., Neural Comput. 12 (2000) 2451)
            for layer in range(config.depth):
                nn.init.ones_(getattr(self.cell, f"bias_ih_l{layer}").detach()[width : 2 * width])
        self.head = zero_init(nn.Linear(width, likelihood.parameters))

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P)."""
        # the feature before the first one and the pixels above the first row are zero
        padded = torch.cat((inputs, torch.zeros_like(inputs[:, :1])), dim=1)
        previous = torch.cat((padded[:, -1:], inputs[:, :-1]), dim=1)
        embedded = self._embed(previous, padded[:, self.neighbours], context, self.positions)
        return self.head(self.cell(embedded, self._state(context))[0])

    def _embed(self, previous: Tensor, back: Tensor, context: Tensor | None, positions: Tensor) -> Tensor:
        """Inputs (B, T, F) of T steps of the cell, from previous features (B, T, K) and neighbours (B, T, N, K)."""
        embedded = self.embed(torch.cat((previous, back.flatten(2)), dim=2)) + positions
        return embedded if self.context_proj is None else embedded + self.context_proj(context)[:, None]

    def _state(self, context: Tensor | None) -> Any:
        """The state before the first feature; zero without a condition."""
        if self.initial_state is None:
            return None
        hidden = (
            torch.tanh(self.initial_state(context))
            .unflatten(1, (self.cell.num_layers, -1))
            .transpose(0, 1)
            .contiguous()
        )
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.cell, nn.LSTM) else hidden

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Begin to draw (`Incremental`); keeps the state."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        state, features = self._state(context), len(self.positions)
        drawn = like.new_zeros(like.shape[0], features + 1, self.embed.in_features // (1 + self.neighbours.shape[1]))
        for i in range(features):
            previous, back = drawn[:, [i - 1]], drawn[:, self.neighbours[[i]]]
            output, state = self.cell(self._embed(previous, back, context, self.positions[i]), state)
            drawn[:, i] = yield self.head(output[:, 0])


@families.register("recurrent")
class RecurrentConfig(FamilyConfig):
    """Recurrent network.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Sequence
    >>> model = RecurrentConfig(cell="gru", width=16).build(Sequence(length=8, vocabulary=5))
    >>> x = model.sample(2, noise=KeyedNoise(0, torch.arange(2)))
    >>> x.shape, model.log_prob(x).shape
    (torch.Size([2, 8]), torch.Size([2]))
    """

    summary: ClassVar[str] = "an LSTM or GRU over the features drawn so far: text, or pixels in raster order"
    reference: ClassVar[str] = "Graves, arXiv:1308.0850"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["lstm", "gru"] = Described(default="lstm", description="kind of recurrent unit")
    width: int = Described(default=256, ge=1, description="units of a layer")
    depth: int = Described(default=1, ge=1, description="stacked recurrent layers")
    neighbours: bool = Described(
        default=False,
        description="on a field, also see the features one pixel back along every axis, such as the pixel above",
    )
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout, likelihood = features_of(space, condition, self.likelihood)
        if layout.features < 2:
            raise ConfigError("recurrent: expected at least 2 features per sample, found 1; use fvsbn.")
        order = raster(space)
        back = order.new_zeros(layout.features, 0)
        if self.neighbours:
            if not isinstance(space, Field):
                raise ConfigError(f"recurrent.neighbours: expected a field, found a {space.kind}; leave it out.")
            back = neighbours(space)
        network = Recurrent(layout.features, back, layout.context_features, likelihood, self)
        return Autoregressive(layout, likelihood, network, order)

    @classmethod
    def example(cls) -> RecurrentConfig:
        return cls(width=6, depth=2)
