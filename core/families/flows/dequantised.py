"""Dequantisation: densities of real numbers made into bounds on the masses of integer levels.

A level k of n owns the interval [k, k + 1). With numbers u in (0, 1) drawn from any law q(u | x),

    log P(x) = log of the integral of p(x + u) du >= E_q [log p(x + u) - log q(u | x)],

uniform u (Theis et al., arXiv:1511.01844) or a flow of its own that is trained along (Ho et al., "Flow++",
arXiv:1902.00275, section 3.1). The interval [0, n) goes onto the line by a logit, so that no mass is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import Config, Width
from ...data import Batch
from ...errors import ConfigError
from ...layout import Layout, parts
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Binary, Levels, Product, Real, Simple, Space, Tree, Vector, size, support_of
from .. import AnyFamily, FamilyConfig, families
from .coupling import CouplingConfig, couplings, perceptrons
from .elementwise import Affine
from .flow import Flow


class Dequantiser(Protocol):
    """A law of numbers in (0, 1) given levels; `description` is what figures of likelihoods call it."""

    description: str

    def draw(self, seen: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Draw u given what can be seen, (B, D + C): levels laid on [-1, 1], and the condition's columns.

        Returns:
            u and 1 - u, both (B, D) and both above zero, and log q(u), (B,).
        """
        ...


class UniformDequantiser(nn.Module):
    """Uniform on (0, 1); reads the noise "dequantise" (D,)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.numbers = layout.features
        self.description = f"uniform dequantisation of {_range(layout)} levels"

    def draw(self, seen: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        u = noise.uniform("dequantise", (self.numbers,)).to(seen.dtype)
        return u, 1 - u, torch.zeros_like(u[:, 0])


class VariationalDequantiser(nn.Module):
    """Uniform numbers carried along by a flow of their logits; reads the noise "dequantise" (D,).

    The paper's flow begins with normals. From logistic numbers, the logits of uniform ones, it starts as uniform
    dequantisation, and the weights p / q have lighter tails.

    Args:
        layout: of the levels.
        order: the places of a row (D,) as the flow sees them.
        transforms: lazy transforms of rows, given what can be seen as columns, both in that order.
    """

    order: Tensor

    def __init__(self, layout: Layout, order: Tensor, transforms: Iterable[nn.Module]) -> None:
        super().__init__()
        self.description = f"variational dequantisation of {_range(layout)} levels"
        self.register_buffer("order", order)
        self.transforms = nn.ModuleList(transforms)

    def draw(self, seen: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        count = len(self.order)
        seen = torch.cat((seen[:, self.order], seen[:, count:]), dim=1)
        w = noise.uniform("dequantise", (count,)).to(seen.dtype).logit()[:, self.order]
        log_q = _log_logistic(w)
        for lazy in self.transforms:
            w, ladj = lazy(seen).call_and_ladj(w)
            log_q = log_q - ladj
        w = w[:, self.order.argsort()]
        return torch.sigmoid(w), torch.sigmoid(-w), log_q - _log_logistic(w)


def _log_logistic(w: Tensor) -> Tensor:
    """Log-density of standard logistic rows (B, D), which is the log-slope of the logistic function too: (B,)."""
    return (F.logsigmoid(w) + F.logsigmoid(-w)).sum(1)


class Dequantised(nn.Module):
    """Masses of levels through a flow of real numbers.

    Args:
        layout: of the levels.
        flow: of the same shape, on real numbers.
        dequantiser: a `Dequantiser`.
    """

    direction: Literal["lower", "upper"] = "lower"
    counts: Tensor  # levels of each number of a row

    def __init__(self, layout: Layout, flow: Flow, dequantiser: nn.Module) -> None:
        super().__init__()
        self.layout, self.flow, self.dequantiser = layout, flow, dequantiser
        counts = [torch.full((size(part),), _levels(part)) for _, part in parts(layout.space)]
        self.register_buffer("counts", torch.cat(counts), persistent=False)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (*self.flow.likelihood_notes, cast(Dequantiser, self.dequantiser).description)

    def forward(self, rows: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        """`log_bound` of rows (B, D) of floating numbers, and context (B, C)."""
        seen = 2 * rows / (self.counts - 1) - 1
        seen = seen if context is None else torch.cat((seen, context), dim=1)
        u, rest, log_q = cast(Dequantiser, self.dequantiser).draw(seen, noise)
        below, above = rows + u, self.counts - 1 - rows + rest  # add up to n; neither rounds to zero
        slope = (self.counts.to(rows.dtype).log() - below.log() - above.log()).sum(1)
        return self.flow.log_density(below.log() - above.log(), context) + slope - log_q

    def _floating(self, rows: Tensor) -> Tensor:
        return rows.to(next(self.parameters()).dtype)

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Lower bound on the log-mass with one draw of u, shape (B,), nats; reads the noise "dequantise" (D,)."""
        rows = self._floating(self.layout.flatten(x))
        return self(rows, self.layout.context(condition, rows), noise)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise that the flow reads."""
        rows = self.flow.layout.flatten(self.flow.sample(n, condition, noise=noise))
        levels = torch.minimum((torch.sigmoid(rows) * self.counts).floor(), self.counts - 1)
        value = self.layout.unflatten(levels)
        named = value if isinstance(value, dict) else {"": value}
        typed = {
            name: named[name].long() if isinstance(support_of(part), Levels) else named[name]
            for name, part in parts(self.layout.space)
        }
        return typed if isinstance(value, dict) else typed[""]

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", DequantisedObjective(self), (self,)),))]


class DequantisedObjective(Objective):
    """Negative bound per number, nats."""

    def __init__(self, model: Dequantised) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses(-self.model.log_bound(batch.x, batch.condition, noise=noise) / self.model.layout.features)


def _levels(part: Simple) -> int:
    support = support_of(part)
    return support.count if isinstance(support, Levels) else 2


def _range(layout: Layout) -> str:
    """How many levels numbers have: "256", or "2 to 256"."""
    counts = [_levels(part) for _, part in parts(layout.space)]
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def real(space: Space) -> Space:
    """The space of real numbers of a space's shape."""
    if isinstance(space, Product):
        return Product(parts={name: part.model_copy(update={"support": Real()}) for name, part in space.parts.items()})
    return space.model_copy(update={"support": Real()})


class UniformConfig(Config):
    """Uniform dequantisation."""

    kind: Literal["uniform"] = "uniform"

    def build(self, layout: Layout) -> UniformDequantiser:
        return UniformDequantiser(layout)


class VariationalConfig(Config):
    """Variational dequantisation by affine couplings."""

    kind: Literal["variational"] = "variational"
    transforms: int = Described(default=4, ge=2, description="number of couplings, even")
    hidden: tuple[Width, ...] = Described(default=(64, 64), description="widths of each network's hidden layers")

    def build(self, layout: Layout) -> VariationalDequantiser:
        rows = Layout(Vector(dim=layout.features), Vector(dim=layout.features + layout.context_features))
        networks = perceptrons(rows, self.hidden)
        transforms = couplings(rows, self.transforms, Affine(), networks, kind="dequantised.noise")
        return VariationalDequantiser(layout, torch.arange(layout.features), transforms)


@families.register("dequantised")
class DequantisedConfig(FamilyConfig):
    """Any flow of real numbers, on integer levels."""

    summary: ClassVar[str] = "a flow of real numbers made one of integer levels, known up to a lower bound"
    reference: ClassVar[str] = "Theis et al., arXiv:1511.01844; Ho et al., arXiv:1902.00275, section 3.1"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    supports: ClassVar[tuple[str, ...]] = ("levels", "binary")
    model: ClassVar[type[nn.Module]] = Dequantised

    kind: Literal["dequantised"] = "dequantised"
    flow: AnyFamily
    noise: Annotated[UniformConfig | VariationalConfig, Described(discriminator="kind")] = UniformConfig()

    def build(self, space: Space, condition: Space | None = None) -> Dequantised:
        layout = Layout(space, condition, (Levels, Binary))
        config: Any = self.flow
        flow = config.build(real(space), condition)
        if not isinstance(flow, Flow):
            raise ConfigError(f'dequantised.flow: "{config.kind}" is no flow; take spline, glow or another one.')
        return Dequantised(layout, flow, self.noise.build(layout))

    @classmethod
    def example(cls) -> DequantisedConfig:
        return cls(flow=CouplingConfig(transforms=2, hidden=(8,)), noise=VariationalConfig(transforms=2, hidden=(8,)))
