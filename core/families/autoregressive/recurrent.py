"""A recurrent network that reads the numbers drawn so far, one after the other.

Over a vocabulary it is the character model of Graves, "Generating sequences with recurrent neural networks",
arXiv:1308.0850; over the raster of a field a PixelRNN (van den Oord, Kalchbrenner & Kavukcuoglu, arXiv:1601.06759) of
one LSTM, that may see, beside the number before, those one cell back along every axis: the pixel above. A condition
sets the initial state, and is read at every step again.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn

from ...errors import ConfigError
from ...layout import Layout
from ...likelihoods import SUPPORTS, AnyLikelihood, Likelihood, likelihood_of
from ...nets.init import zero_init
from ...samplers.ancestral import Step
from ...spaces import Field, Space
from .. import FamilyConfig, families
from .model import Autoregressive
from .raster import neighbours, raster

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """The network: inputs (B, D, K) and context (B, C) to parameters (B, D, P).

    Args:
        numbers: D.
        back: for every number, which others it sees beside the one before it, (D, N); D stands for none.
        context_features: C, features of the context.
        law: of each number.
        config: sizes.
    """

    back: Tensor

    def __init__(
        self, numbers: int, back: Tensor, context_features: int, law: Likelihood, config: RecurrentConfig
    ) -> None:
        super().__init__()
        self.register_buffer("back", back, persistent=False)
        width = config.width
        # on one-hot columns an embedding, and drawn as one; it costs what the last layer costs for any vocabulary
        self.enter = nn.Linear(law.embed_dim * (1 + back.shape[1]), width, bias=False)
        nn.init.normal_(self.enter.weight)
        self.places = nn.Parameter(torch.zeros(numbers, width))
        self.condition = nn.Linear(context_features, width, bias=False) if context_features else None
        self.begin = nn.Linear(context_features, config.depth * width) if context_features else None
        self.cell: Any = CELLS[config.cell](width, width, config.depth, batch_first=True)
        if config.cell == "lstm":
            # open forget gates carry gradients far from the start (Gers et al., Neural Comput. 12 (2000) 2451)
            for layer in range(config.depth):
                nn.init.ones_(getattr(self.cell, f"bias_ih_l{layer}").detach()[width : 2 * width])
        self.leave = zero_init(nn.Linear(width, law.parameters))

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Parameters (B, D, P)."""
        # a zero column stands for what is not there: nothing before the first number, no pixel above the first row
        padded = torch.cat((inputs, torch.zeros_like(inputs[:, :1])), dim=1)
        seen = torch.cat((padded[:, -1:], inputs[:, :-1]), dim=1)
        entered = self._enter(seen, padded[:, self.back], context, self.places)
        return self.leave(self.cell(entered, self._state(context))[0])

    def _enter(self, seen: Tensor, back: Tensor, context: Tensor | None, places: Tensor) -> Tensor:
        """Features (B, T, F) of T places from the numbers before (B, T, K) and those one cell back (B, T, N, K)."""
        features = self.enter(torch.cat((seen, back.flatten(2)), dim=2)) + places
        return features if self.condition is None else features + self.condition(context)[:, None]

    def _state(self, context: Tensor | None) -> Any:
        """The state before the first number; zero without a condition."""
        if self.begin is None:
            return None
        hidden = torch.tanh(self.begin(context)).unflatten(1, (self.cell.num_layers, -1)).transpose(0, 1).contiguous()
        return (hidden, torch.zeros_like(hidden)) if isinstance(self.cell, nn.LSTM) else hidden

    def steps(self, context: Tensor | None, like: Tensor) -> Step:
        """Draw with the state remembered."""
        return self._draw(context, like).send

    def _draw(self, context: Tensor | None, like: Tensor) -> Generator[Tensor, Any, None]:
        state, numbers = self._state(context), len(self.places)
        drawn = like.new_zeros(like.shape[0], numbers + 1, self.enter.in_features // (1 + self.back.shape[1]))
        for place in range(numbers):
            seen, back = drawn[:, [place - 1]], drawn[:, self.back[[place]]]
            output, state = self.cell(self._enter(seen, back, context, self.places[place]), state)
            drawn[:, place] = yield self.leave(output[:, 0])


@families.register("recurrent")
class RecurrentConfig(FamilyConfig):
    """Recurrent network."""

    summary: ClassVar[str] = "an LSTM or GRU reads the numbers drawn so far: text, or pixels in raster order"
    reference: ClassVar[str] = "Graves, arXiv:1308.0850; van den Oord et al., arXiv:1601.06759"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "sequence", "product")
    supports: ClassVar[tuple[str, ...]] = ("binary", "levels", "interval", "real")
    model: ClassVar[type[nn.Module]] = Autoregressive

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["lstm", "gru"] = Described(default="lstm", description="sort of recurrent unit")
    width: int = Described(default=256, ge=1, description="units of a layer")
    depth: int = Described(default=1, ge=1, description="layers, each reading the one before")
    neighbours: bool = Described(
        default=False, description="see the numbers one cell back along every axis of a field, too, such as that above"
    )
    likelihood: AnyLikelihood | None = None

    def build(self, space: Space, condition: Space | None = None) -> Autoregressive:
        layout = Layout(space, condition, SUPPORTS)
        law: Any = likelihood_of(layout.support, self.likelihood)
        if layout.features < 2:
            raise ConfigError("recurrent: expected at least 2 numbers per sample, found 1; use fvsbn.")
        order = raster(space)
        back = order.new_zeros(layout.features, 0)
        if self.neighbours:
            if not isinstance(space, Field):
                raise ConfigError(f"recurrent.neighbours: expected a field, found a {space.kind}; leave it out.")
            back = neighbours(space)
        return Autoregressive(layout, law, Recurrent(layout.features, back, layout.context_features, law, self), order)

    @classmethod
    def example(cls) -> RecurrentConfig:
        return cls(width=6, depth=2)
