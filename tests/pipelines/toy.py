"""A domain of two numbers: noisy points on a circle, given their angle; as small as a domain can be.

Run as a script it is the `maquette` command with this domain installed.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import torch
from maquette.core.data import Batch, Source
from maquette.core.errors import ConfigError
from maquette.core.families import FamilyConfig, families
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.spaces import Space, Tree, Vector, named
from maquette.core.statistics.estimate import Estimate
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.domains.codec import CodecConfig, VolumeCodec
from maquette.domains.generator import Generator, GeneratorConfig
from maquette.domains.plugin import Evaluation, Progress, Published, ReferenceCost, SimulatorConfig, Unavailable
from maquette.domains.verbs import Verb
from matplotlib.figure import Figure
from torch import Tensor, nn

HERE = Path(__file__).parent


# --- a family: a Gaussian whose mean is linear in the condition ---------------------------------------


class Mean(nn.Linear):
    """A c + b of conditions c; without any, c is one."""

    def forward(self, condition: Tree | None, like: Tensor) -> Tensor:
        assert not isinstance(condition, dict)
        return super().forward(torch.ones_like(like[:, :1]) if condition is None else condition)


class _Score(Objective):
    def __init__(self, net: Mean) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        if delay := os.environ.get("TOY_SECONDS_PER_STEP"):
            time.sleep(float(delay))
        return Losses((batch.x - self.net(batch.condition, batch.x)).square().sum(1))


class Line(nn.Module):
    def __init__(self, dim: int, condition: int, width: float) -> None:
        super().__init__()
        self.net, self.width = Mean(condition, dim), width

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        z = noise.normal("x", (self.net.out_features,))
        return self.net(condition, z) + self.width * z

    def stages(self) -> Sequence[Stage]:
        return [Stage("line", (Player("line", _Score(self.net), (self.net,)),))]


@families.register("toy-line")
class LineConfig(FamilyConfig):
    kind: Literal["toy-line"] = "toy-line"
    width: float = 0.1
    summary = "a straight line"
    reference = "none"
    spaces = ("vector",)
    model = Line

    def build(self, space: Space, condition: Space | None = None) -> Line:
        assert isinstance(space, Vector)
        assert condition is None or isinstance(condition, Vector)
        return Line(space.dim, condition.dim if condition else 1, self.width)


# --- a codec: (cos, sin) of the angle as the encoded condition ------------------------------------------


class GivenCodec(VolumeCodec):
    """A codec that does not know how angles are distributed."""

    exact = True

    def __init__(self) -> None:
        super().__init__(Vector(dim=2), Vector(dim=2))
        self.register_buffer("unit", torch.ones(()))

    def fit(self, source: Source) -> None:
        x = source.fetch(torch.arange(len(source))).x
        assert isinstance(x, Tensor)
        self.unit.copy_(x.std())

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        assert batch.condition is not None
        y = Batch(batch.x / self.unit, self.encode_condition(batch.condition), batch.index)
        return y, (-2 * self.unit.log()).expand(len(batch))

    def encode_condition(self, condition: Tree) -> Tree:
        angle = condition["angle"]
        return torch.cat((angle.cos(), angle.sin()), dim=1)

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y * self.unit


class ToyCodec(GivenCodec):
    def draw_condition(self, noise: Noise) -> Tree:
        return {"angle": 2 * math.pi * noise.uniform("angle", (1,))}


class ToyCodecConfig(CodecConfig):
    kind: Literal["toy"] = "toy"

    def build(self, description: Mapping[str, Any]) -> ToyCodec:
        return ToyCodec()


class ToyGeneratorConfig(GeneratorConfig):
    codec: ToyCodecConfig = ToyCodecConfig()


# --- data --------------------------------------------------------------------------------------------


class ToyData:
    """HDF5 with `x` (n, ...) and a dataset for each condition; its description has their shapes."""

    def __init__(
        self, x: Tensor, condition: Mapping[str, Tensor], first: int = 0, origin: Mapping[str, str] | None = None
    ) -> None:
        self.x, self.condition, self.first, self.origin = x, condition, first, origin or {}

    @property
    def description(self) -> Mapping[str, Any]:
        shapes = {name: list(part.shape[1:]) for name, part in self.condition.items()}
        return {"x": list(self.x.shape[1:]), "conditions": shapes}

    @property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha256(
            b"".join(part.numpy().tobytes() for part in (self.x, *self.condition.values()))
        ).hexdigest()

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, index: Tensor) -> Batch:
        condition = {name: part[index] for name, part in self.condition.items()}
        return Batch(self.x[index], condition or None, index + self.first)

    def summary(self) -> Sequence[tuple[str, str]]:
        return [("points", str(len(self))), ("largest radius", f"{self.x.flatten(1).norm(dim=1).max():.3f} m")]

    def rows(self, start: int, stop: int) -> ToyData:
        condition = {name: part[start:stop] for name, part in self.condition.items()}
        return type(self)(self.x[start:stop], condition, self.first + start, self.origin)


class ToyWriter:
    """Grows `FILE.partial`, flushed at each append; renamed when all points are there."""

    def __init__(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> None:
        self.final, self.n = file, n
        self.partial = file.with_name(file.name + ".partial")
        self.done = file.exists()
        self.stream = h5py.File(file if self.done else self.partial, "r" if self.done else "a")
        if not self.stream.attrs:
            self.stream.attrs.update(attributes)
        if dict(self.stream.attrs) != dict(attributes):
            raise DataError(f"{file}: was begun by another command.")

    @property
    def written(self) -> int:
        return len(self.stream["x"]) if "x" in self.stream else 0

    def append(self, batch: Batch) -> None:
        for name, value in {**named(batch.condition), **named(batch.x, "x")}.items():
            self.grow(name, value)
        self.stream.flush()

    def grow(self, name: str, value: Tensor) -> None:
        if name not in self.stream:
            shape, options = value.shape[1:], {"dtype": value.numpy().dtype}
            self.stream.create_dataset(name, (0, *shape), maxshape=(None, *shape), chunks=(64, *shape), **options)
        data = self.stream[name]
        assert isinstance(data, h5py.Dataset)
        data.resize(len(data) + len(value), axis=0)
        data[len(data) - len(value) :] = value.numpy()

    def close(self) -> None:
        complete = self.written == self.n
        self.stream.close()
        if complete and not self.done:
            self.partial.rename(self.final)


class ToySimulatorConfig(SimulatorConfig):
    radius: float = 1.0

    def build(self) -> ToySimulator:
        return ToySimulator(self.radius)


class ToySimulator:
    description: Mapping[str, Any] = {"x": [2], "conditions": {"angle": [1]}}

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def simulate(self, index: Tensor, seed: int) -> Batch:
        noise = KeyedNoise(seed, index, stream="simulate")
        angle = 2 * math.pi * noise.uniform("angle", (1,))
        x = self.radius * torch.cat((angle.cos(), angle.sin()), 1) + 0.1 * noise.normal("x", (2,))
        return Batch(x, {"angle": angle}, index)


# --- the plug-in ---------------------------------------------------------------------------------------


class Toy:
    name = "toy"
    summary = "points on a circle"
    data = ToyData
    generator: type[GeneratorConfig] = ToyGeneratorConfig
    simulator: type[SimulatorConfig] = ToySimulatorConfig

    def recipes(self) -> Mapping[str, Path]:
        return {file.stem: file for file in (HERE / "recipes" / self.name).glob("*.yaml")}

    def sample_path(self) -> Path:
        return Path(os.environ["TOY_SAMPLE"])

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> ToyData:
        if unknown := set(options) - {"surface"}:
            raise ConfigError(f"the toy's reader knows no option {sorted(unknown)}.")
        try:
            with h5py.File(file, "r") as stream:
                origin = {name: str(value) for name, value in stream.attrs.items()}
                parts = {name: torch.from_numpy(data[:]) for name, data in stream.items()}
                data = self.data(parts.pop("x"), parts, origin=origin)
        except (OSError, KeyError) as error:
            raise DataError(f"{file}: expected a toy file ({error}).") from None
        if like is not None and like["x"] != data.description["x"]:
            raise DataError(f"{file}: expected samples of shape {like['x']}, found {data.description['x']}.")
        return data

    def verbs(self) -> Mapping[str, type[Verb]]:
        return {}

    def describe(self, description: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return [("conditions", ", ".join(description["conditions"]))]

    def check(self, file: Path, options: Mapping[str, Any], progress: Progress) -> Sequence[tuple[str, str]]:
        data = self.open(file, options)
        if not data.x.isfinite().all():
            raise DataError(f"{file}: a coordinate is not finite.")
        progress("check", len(data), len(data))
        return data.summary()

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> ToyWriter:
        return ToyWriter(file, description, attributes, n)

    def parse_condition(self, values: Mapping[str, str], n: int, generator: Generator) -> Tree:
        if set(values) != {"angle"}:
            raise ConfigError(f"expected condition.angle=RADIANS, found {sorted(values)}.")
        return {"angle": torch.full((n, 1), float(values["angle"]))}

    def reference_cost(self, description: Mapping[str, Any]) -> ReferenceCost:
        return ReferenceCost("a pair of compasses", 2.0)

    def evaluate(
        self,
        reference: ToyData,
        generated: ToyData,
        training: ToyData | Unavailable,
        *,
        seed: int,
        progress: Progress,
        effort: str = "full",
    ) -> Evaluation:
        a, b = reference.x.flatten(1).norm(dim=1), generated.x.flatten(1).norm(dim=1)
        progress("compare", 1, 1)
        error = float((a.var() / len(a) + b.var() / len(b)).sqrt())
        radius = Estimate(
            float((a.mean() - b.mean()).abs()), error, 0.0, len(b), "m", "lower", "shift of the mean radius"
        )
        hidden = Estimate(math.nan, math.nan, math.nan, len(b), "", "floor", "not measurable: a toy has no depth")
        if isinstance(training, Unavailable):
            copied = Estimate(math.nan, math.nan, math.nan, 0, "", "lower", f"not measurable: {training.reason}")
        else:
            share = float(torch.isin(generated.x.flatten(1)[:, 0], training.x.flatten(1)[:, 0]).float().mean())
            what = f"share found among {len(training)} training points, the first of them row {training.first}"
            copied = Estimate(share, 0.01, 0.0, len(b), "", "lower", what)
        figure = Figure(figsize=(4, 3))
        figure.subplots().hist([a.numpy(), b.numpy()], bins=20, label=["reference", "generated"])
        same = radius.significance() < 3
        return Evaluation(
            estimates={"radius": radius, "depth": hidden, "copied": copied},
            figures={"radius": figure},
            published=[Published("Circles of others", ("who", "radius"), (("Archimedes", "1.0"),), "Not comparable.")],
            verdict=f"indistinguishable at n = {len(b)}" if same else "distinguishable by radius",
            notes=["<script>alert('notes are escaped')</script>"],
        )


domains.register("toy")(Toy())

if __name__ == "__main__":
    sys.argv[0] = "maquette"
    from maquette.pipelines.cli import main

    main()
