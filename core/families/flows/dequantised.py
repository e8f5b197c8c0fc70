"""Dequantisation: a density of real features gives a lower bound on the probability of integer levels.

Level k of n becomes the interval [k, k + 1). With noise u in (0, 1)^D from any distribution q(u | x),

    log P(x) = log of the integral of p(x + u) du >= E_q [log p(x + u) - log q(u | x)],

where q is uniform (Theis et al., arXiv:1511.01844) or a second flow trained together with p (Ho et al., "Flow++",
arXiv:1902.00275, section 3.1). A logit maps the interval (0, n) onto the line, so that all of the flow's probability
belongs to some level.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Described
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import Config, Width, kind_of
from ...data import Batch
from ...errors import ConfigError
from ...layout import Layout, parts
from ...noise import Noise
from ...objective import Losses, Objective, Player, Stage
from ...spaces import Binary, Levels, Product, Real, Simple, Space, Tree, Vector, size, support_of
from .. import AnyFamily, FamilyConfig, families
from .bijection import LazyTransform
from .coupling import CouplingConfig, couplings, mlp_conditioners
from .elementwise import Affine
from .flow import Flow


class Dequantiser(nn.Module, ABC):
    """A conditional distribution of noise in (0, 1) given levels.

    Attributes:
        description: its name in `likelihood_notes`.

    >>> from maquette.core.noise import KeyedNoise
    >>> layout = Layout(Vector(dim=3, support=Levels(count=8)), supports=(Levels,))
    >>> dequantiser: Dequantiser = UniformDequantiserConfig().build(layout)
    >>> u, rest, log_q = dequantiser.sample(torch.zeros(5, 3), KeyedNoise(0, torch.arange(5)))
    >>> u.shape, torch.equal(rest, 1 - u), log_q.tolist()
    (torch.Size([5, 3]), True, [0.0, 0.0, 0.0, 0.0, 0.0])
    """

    description: str

    @abstractmethod
    def sample(self, context: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Draw u given `context` (B, D + C): levels scaled to [-1, 1], then the context of the condition.

        Returns:
            u and 1 - u, both (B, D) and positive after rounding, and log q(u), (B,).
        """

    def extra_repr(self) -> str:
        return self.description


class UniformDequantiser(Dequantiser):
    """Uniform on (0, 1); reads the noise "dequantise" (D,).

    >>> UniformDequantiser(Layout(Vector(dim=3, support=Levels(count=8)), supports=(Levels,)))
    UniformDequantiser(uniform dequantisation of 8 levels)
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.features = layout.features
        self.description = f"uniform dequantisation of {_range(layout)} levels"

    def sample(self, context: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        u = noise.uniform("dequantise", (self.features,)).to(context.dtype)
        return u, 1 - u, torch.zeros_like(u[:, 0])


class VariationalDequantiser(Dequantiser):
    """A flow of the logits of uniform noise; reads the noise "dequantise" (D,).

    The paper's flow starts from normal noise. Logits of uniform noise are logistic. So an untrained flow is uniform
    dequantisation, and the importance weights p / q have lighter tails.

    Args:
        layout: of the levels.
        order: indices of the features (D,) in the order in which the flow takes them.
        transforms: lazy transforms of (B, D) given levels and context (B, D + C), features in that order.

    >>> layout = Layout(Vector(dim=3, support=Levels(count=8)), supports=(Levels,))
    >>> dequantiser: VariationalDequantiser = VariationalDequantiserConfig(transforms=2).build(layout)
    >>> dequantiser.description, len(dequantiser.transforms)  # a permutation and two couplings
    ('variational dequantisation of 8 levels', 3)
    """

    order: Tensor

    def __init__(self, layout: Layout, order: Tensor, transforms: Iterable[LazyTransform]) -> None:
        super().__init__()
        self.description = f"variational dequantisation of {_range(layout)} levels"
        self.register_buffer("order", order)
        self.transforms = nn.ModuleList(transforms)

    def sample(self, context: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        features = len(self.order)
        context = torch.cat((context[:, self.order], context[:, features:]), dim=1)
        w = noise.uniform("dequantise", (features,)).to(context.dtype).logit()[:, self.order]
        log_q = _log_logistic(w)
        for lazy in self.transforms:
            w, ladj = lazy(context).call_and_ladj(w)
            log_q = log_q - ladj
        w = w[:, self.order.argsort()]
        return torch.sigmoid(w), torch.sigmoid(-w), log_q - _log_logistic(w)


def _log_logistic(w: Tensor) -> Tensor:
    """Log-density (B,) of standard logistic variables (B, D), which is also the log-derivative of the sigmoid."""
    return (F.logsigmoid(w) + F.logsigmoid(-w)).sum(1)


class Dequantised(nn.Module):
    """Probabilities of integer levels by a flow of real features.

    Args:
        layout: of the levels.
        flow: of samples of the same shape with real features.
        dequantiser: the noise within a level.

    >>> from maquette.core.noise import KeyedNoise
    >>> model: Dequantised = DequantisedConfig.example().build(Vector(dim=3, support=Levels(count=8)))
    >>> model.likelihood_notes
    ('normal base', 'variational dequantisation of 8 levels')
    >>> model.sample(2, noise=KeyedNoise(0, torch.arange(2))).dtype
    torch.int64
    """

    direction: Literal["lower", "upper"] = "lower"
    counts: Tensor  # levels of each feature

    def __init__(self, layout: Layout, flow: Flow, dequantiser: Dequantiser) -> None:
        super().__init__()
        self.layout, self.flow, self.dequantiser = layout, flow, dequantiser
        counts = [torch.full((size(part),), _levels(part)) for _, part in parts(layout.space)]
        self.register_buffer("counts", torch.cat(counts), persistent=False)

    @property
    def likelihood_notes(self) -> tuple[str, ...]:
        return (*self.flow.likelihood_notes, self.dequantiser.description)

    def forward(self, x: Tensor, context: Tensor | None, noise: Noise) -> Tensor:
        """`log_bound` of flattened levels (B, D), as floats, and context (B, C)."""
        scaled = 2 * x / (self.counts - 1) - 1
        scaled = scaled if context is None else torch.cat((scaled, context), dim=1)
        u, rest, log_q = self.dequantiser.sample(scaled, noise)
        below, above = x + u, self.counts - 1 - x + rest  # add up to n; neither rounds to zero
        slope = (self.counts.to(x.dtype).log() - below.log() - above.log()).sum(1)
        return self.flow.log_prob_flat(below.log() - above.log(), context) + slope - log_q

    def log_bound(self, x: Tree, condition: Tree | None = None, *, noise: Noise) -> Tensor:
        """Lower bound on the log-probability from one draw of u, (B,), nats; reads the noise "dequantise" (D,)."""
        flat = self.layout.flatten(x).to(next(self.parameters()).dtype)
        return self(flat, self.layout.context(condition, flat).vector, noise)

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        """Draw n samples; reads the noise that the flow reads."""
        flat = self.flow.layout.flatten(self.flow.sample(n, condition, noise=noise))
        levels = torch.minimum((torch.sigmoid(flat) * self.counts).floor(), self.counts - 1)
        return self.layout.samples(levels)

    def stages(self) -> list[Stage]:
        return [Stage("fit", (Player("model", DequantisedObjective(self), (self,)),))]


class DequantisedObjective(Objective):
    """Negative bound per feature, nats; reads the noise "dequantise" (D,).

    >>> from maquette.core.noise import KeyedNoise
    >>> objective = DequantisedObjective(DequantisedConfig.example().build(Vector(dim=3, support=Binary())))
    >>> index = torch.arange(5)
    >>> objective(Batch(torch.ones(5, 3), None, index), KeyedNoise(0, index)).losses.shape
    torch.Size([5])
    """

    def __init__(self, model: Dequantised) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        return Losses(-self.model.log_bound(batch.x, batch.condition, noise=noise) / self.model.layout.features)


def _levels(part: Simple) -> int:
    support = support_of(part)
    return support.count if isinstance(support, Levels) else 2


def _range(layout: Layout) -> str:
    """How many levels the features have: "256", or "2 to 256"."""
    counts = [_levels(part) for _, part in parts(layout.space)]
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def with_real_support(space: Space) -> Space:
    """The space of the same shape with real features.

    >>> with_real_support(Vector(dim=2, support=Binary()))
    Vector(kind='vector', dim=2, support=Real(kind='real'))
    """
    if isinstance(space, Product):
        return Product(parts={name: part.model_copy(update={"support": Real()}) for name, part in space.parts.items()})
    return space.model_copy(update={"support": Real()})


class UniformDequantiserConfig(Config):
    """Uniform dequantisation."""

    kind: Literal["uniform"] = "uniform"

    def build(self, layout: Layout) -> UniformDequantiser:
        return UniformDequantiser(layout)


class VariationalDequantiserConfig(Config):
    """Variational dequantisation by affine couplings."""

    kind: Literal["variational"] = "variational"
    transforms: int = Described(default=4, ge=2, description="number of couplings, even")
    hidden: tuple[Width, ...] = Described(default=(64, 64), description="widths of each network's hidden layers")

    def build(self, layout: Layout) -> VariationalDequantiser:
        given_levels = Layout(Vector(dim=layout.features), Vector(dim=layout.features + layout.context_features))
        conditioner = mlp_conditioners(given_levels, self.hidden)
        transforms = couplings(given_levels, self.transforms, Affine(), conditioner, kind="dequantised.noise")
        return VariationalDequantiser(layout, torch.arange(layout.features), transforms)


@families.register("dequantised")
class DequantisedConfig(FamilyConfig):
    """Any flow of real features, for integer levels.

    >>> from maquette.core.noise import KeyedNoise
    >>> model = DequantisedConfig.example().build(Vector(dim=3, support=Levels(count=8)))
    >>> noise = KeyedNoise(0, torch.arange(5))
    >>> x = model.sample(5, noise=noise)
    >>> x.shape, x.dtype, model.log_bound(x, noise=noise).shape
    (torch.Size([5, 3]), torch.int64, torch.Size([5]))
    """

    summary: ClassVar[str] = (
        "any flow of real features, applied to integer levels; likelihood known up to a lower bound"
    )
    reference: ClassVar[str] = "Theis et al., arXiv:1511.01844; Ho et al., arXiv:1902.00275, section 3.1"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    supports: ClassVar[tuple[str, ...]] = ("levels", "binary")
    model: ClassVar[type[nn.Module]] = Dequantised

    kind: Literal["dequantised"] = "dequantised"
    flow: AnyFamily
    noise: Annotated[UniformDequantiserConfig | VariationalDequantiserConfig, Described(discriminator="kind")] = (
        UniformDequantiserConfig()
    )

    def build(self, space: Space, condition: Space | None = None) -> Dequantised:
        layout = Layout(space, condition, (Levels, Binary))
        flow = self.flow.build(with_real_support(space), condition)
        if not isinstance(flow, Flow):
            raise ConfigError(f'dequantised.flow: "{kind_of(self.flow)}" is no flow; take spline, glow or another one.')
        return Dequantised(layout, flow, self.noise.build(layout))

    @classmethod
    def example(cls) -> DequantisedConfig:
        return cls(
            flow=CouplingConfig(transforms=2, hidden=(8,)),
            noise=VariationalDequantiserConfig(transforms=2, hidden=(8,)),
        )
