"""A domain of two unpaired data sets: photos become paintings (CycleGAN, Zhu et al., arXiv:1703.10593)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from maquette.core.data import Batch, Source
from maquette.core.families import FamilyConfig, families
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.spaces import Space, Tree, Vector
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import SimulatorConfig
from torch import Tensor, nn
from toy import Toy, ToyData


class Adversary(Objective):
    """Least squares of a critic that sees paintings and a pool of translations, one slot per place in the batch."""

    pool: Tensor

    def __init__(self, model: Cycle) -> None:
        super().__init__()
        self.model, self.critic = model, model.critic
        self.register_buffer("pool", torch.zeros(model.slots, 2))

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert batch.place is not None
        new = self.model.forth(batch.others["photos"].x).detach()
        seen = torch.where(noise.uniform("old", (1,)) < 0.5, self.pool[batch.place], new)
        losses = (self.critic(batch.x) - 1).square() + self.critic(seen).square()
        slots = torch.zeros_like(self.pool).index_copy(0, batch.place, new)
        taken = torch.zeros_like(self.pool[:, :1]).index_fill(0, batch.place, 1.0)
        return Losses(losses.squeeze(1), statistics={"slots": slots, "taken": taken})

    def update(self, statistics: dict[str, Tensor]) -> None:
        self.pool.copy_(torch.where(statistics["taken"] > 0, statistics["slots"], self.pool))


class CycleLoss(Objective):
    """Both translations undo each other, and the critic takes a translation for a painting."""

    def __init__(self, model: Cycle) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        x, y, forth, back = batch.x, batch.others["paintings"].x, self.model.forth, self.model.back
        cycle = (back(forth(x)) - x).square() + (forth(back(y)) - y).square()
        return Losses(cycle.mean(1) + (self.model.critic(forth(x)) - 1).square().squeeze(1))


class Cycle(nn.Module):
    def __init__(self, slots: int) -> None:
        super().__init__()
        self.forth, self.back, self.slots = nn.Linear(2, 2), nn.Linear(2, 2), slots
        self.critic = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        return self.forth(condition)

    def stages(self) -> Sequence[Stage]:
        critic = Player("critic", Adversary(self), (self.critic,), sources=("paintings", "photos"), average="none")
        both = Player("generators", CycleLoss(self), (self.forth, self.back), sources=("photos", "paintings"))
        return [Stage("fit", (critic, both))]


@families.register("toy-cycle")
class CycleConfig(FamilyConfig):
    kind: Literal["toy-cycle"] = "toy-cycle"
    slots: int = 16
    summary = "two translators and a critic"
    reference = "arXiv:1703.10593"
    spaces = ("vector",)
    model = Cycle

    def build(self, space: Space, condition: Space | None = None) -> Cycle:
        return Cycle(self.slots)


class PictureCodec(Codec):
    """Divides photos and paintings, each by a scale of its own."""

    other_sources = ("paintings",)
    photos: Tensor
    paintings: Tensor

    def __init__(self) -> None:
        super().__init__(Vector(dim=2), Vector(dim=2))
        for name in ("photos", "paintings"):
            self.register_buffer(name, torch.ones(()))

    def fit(self, source: Source) -> None:
        self.photos.copy_(source.fetch(torch.arange(len(source))).x.std())

    def fit_others(self, others: Mapping[str, Source]) -> None:
        paintings = others["paintings"]
        self.paintings.copy_(paintings.fetch(torch.arange(len(paintings))).x.std())

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return Batch(batch.x / getattr(self, batch.name), None, batch.index)

    def encode_condition(self, condition: Tree) -> Tree:
        return condition["photo"] / self.photos

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y * self.paintings


class PictureCodecConfig(CodecConfig):
    kind: Literal["pictures"] = "pictures"

    def build(self, description: Mapping[str, Any]) -> PictureCodec:
        return PictureCodec()


class PictureGeneratorConfig(GeneratorConfig):
    codec: PictureCodecConfig = PictureCodecConfig()


class Pictures(ToyData):
    """A picture that is nobody's translation is the condition of its own."""

    def __init__(self, x: Tensor, condition: Mapping[str, Tensor], *rest: Any, **origin: Any) -> None:
        super().__init__(x, condition or {"photo": x}, *rest, **origin)


class PictureSimulatorConfig(SimulatorConfig):
    what: Literal["photos", "paintings"] = "photos"

    def build(self) -> PictureSimulatorConfig:
        return self

    @property
    def description(self) -> Mapping[str, Any]:
        return {"x": [2], "conditions": {}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        x = 1 + 0.5 * KeyedNoise(seed, index, stream=self.what).normal("x", (2,))
        return Batch(x if self.what == "photos" else -10 * x, None, index)


class Translation(Toy):
    name = "translation"
    data = Pictures
    generator: type[GeneratorConfig] = PictureGeneratorConfig
    simulator: type[SimulatorConfig] = PictureSimulatorConfig


domains.register("translation")(Translation())
