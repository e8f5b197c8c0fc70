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
import numpy as np
import torch
from maquette.core.data import Batch, Source
from maquette.core.errors import ConfigError
from maquette.core.families import FamilyConfig, families
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.objective import Losses, Objective, Player, Stage
from maquette.core.spaces import Space, Tree, Vector
from maquette.core.statistics.estimate import Estimate
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.domains.generator import Codec, CodecConfig, Generator, GeneratorConfig
from maquette.domains.plugin import Evaluation, Progress, Published, ReferenceCost, SimulatorConfig, Unavailable
from matplotlib.figure import Figure
from torch import Tensor, nn

HERE = Path(__file__).parent


# --- a family: a Gaussian whose mean is linear in the condition ---------------------------------------


class _Score(Objective):
    def __init__(self, net: nn.Linear) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, noise: Noise) -> Losses:
        assert isinstance(batch.x, Tensor)
        if delay := os.environ.get("TOY_SECONDS_PER_STEP"):
            time.sleep(float(delay))
        return Losses((batch.x - self.net(batch.condition)).square().sum(1))


class Line(nn.Module):
    def __init__(self, dim: int, condition: int, width: float) -> None:
        super().__init__()
        self.net, self.width = nn.Linear(condition, dim), width

    def sample(self, n: int, condition: Tree | None = None, *, noise: Noise) -> Tree:
        return self.net(condition) + self.width * noise.normal("x", (self.net.out_features,))

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
        assert isinstance(condition, Vector)
        return Line(space.dim, condition.dim, self.width)


# --- a codec: (cos, sin) of the angle as the encoded condition ------------------------------------------


class ToyCodec(Codec):
    def __init__(self) -> None:
        super().__init__(Vector(dim=2), Vector(dim=2))
        self.register_buffer("unit", torch.ones(()))

    def fit(self, source: Source) -> None:
        x = source.fetch(torch.arange(len(source))).x
        assert isinstance(x, Tensor)
        self.unit.copy_(x.std())

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        assert batch.condition is not None
        y = Batch(batch.x / self.unit, self.encode_condition(batch.condition), batch.index)  # type: ignore[operator]
        return y, (-2 * self.unit.log()).expand(len(batch))

    def encode_condition(self, condition: Tree) -> Tree:
        angle = condition["angle"]  # type: ignore[index]
        return torch.cat((angle.cos(), angle.sin()), dim=1)

    def decode(self, y: Tree, condition: Tree) -> Tree:
        return y * self.unit  # type: ignore[operator]

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
    """HDF5 with `x` (n, 2) and `angle` (n, 1)."""

    description: Mapping[str, Any] = {"conditions": ["angle"]}

    def __init__(self, x: Tensor, angle: Tensor, first: int = 0, origin: Mapping[str, str] | None = None) -> None:
        self.x, self.angle, self.first, self.origin = x, angle, first, origin or {}

    @property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha256(self.x.numpy().tobytes() + self.angle.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, index: Tensor) -> Batch:
        return Batch(self.x[index], {"angle": self.angle[index]}, index + self.first)

    def summary(self) -> Sequence[tuple[str, str]]:
        return [("points", str(len(self))), ("largest radius", f"{self.x.norm(dim=1).max():.3f} m")]

    def rows(self, start: int, stop: int) -> ToyData:
        return ToyData(self.x[start:stop], self.angle[start:stop], self.first + start, self.origin)


class ToyWriter:
    """Grows `FILE.partial`, flushed at each append; renamed when all points are there."""

    def __init__(self, file: Path, attributes: Mapping[str, Any], n: int) -> None:
        self.final, self.n = file, n
        self.partial = file.with_name(file.name + ".partial")
        self.done = file.exists()
        self.stream = h5py.File(file if self.done else self.partial, "r" if self.done else "a")
        if "x" not in self.stream:
            for name, width in (("x", 2), ("angle", 1)):
                self.stream.create_dataset(name, (0, width), np.float32, maxshape=(None, width), chunks=(64, width))
            self.stream.attrs.update(attributes)
        if dict(self.stream.attrs) != dict(attributes):
            raise DataError(f"{file}: was begun by another command.")

    @property
    def written(self) -> int:
        return len(self.stream["x"])  # type: ignore[arg-type]

    def append(self, x: Tree, condition: Tree) -> None:
        for name, value in (("angle", condition["angle"]), ("x", x)):  # type: ignore[index]
            data = self.stream[name]
            assert isinstance(data, h5py.Dataset)
            data.resize(self.written + len(value), axis=0)
            data[-len(value) :] = value.numpy()  # type: ignore[union-attr]
        self.stream.flush()

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
    description = ToyData.description

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def simulate(self, index: Tensor, seed: int) -> tuple[Tree, Tree]:
        noise = KeyedNoise(seed, index, stream="simulate")
        angle = 2 * math.pi * noise.uniform("angle", (1,))
        return self.radius * torch.cat((angle.cos(), angle.sin()), 1) + 0.1 * noise.normal("x", (2,)), {"angle": angle}


# --- the plug-in ---------------------------------------------------------------------------------------


class Toy:
    name = "toy"
    summary = "points on a circle"
    generator = ToyGeneratorConfig
    simulator = ToySimulatorConfig

    def recipes(self) -> Mapping[str, Path]:
        return {file.stem: file for file in (HERE / "recipes").glob("*.yaml")}

    def sample_path(self) -> Path:
        return Path(os.environ["TOY_SAMPLE"])

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> ToyData:
        if unknown := set(options) - {"geometry"}:
            raise ConfigError(f"the toy's reader knows no option {sorted(unknown)}.")
        try:
            with h5py.File(file, "r") as stream:
                origin = {name: str(value) for name, value in stream.attrs.items()}
                x, angle = (torch.from_numpy(stream[name][:]) for name in ("x", "angle"))  # type: ignore[index]
                return ToyData(x, angle, origin=origin)
        except (OSError, KeyError) as error:
            raise DataError(f"{file}: expected a toy file ({error}).") from None

    def describe(self, description: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return [("conditions", ", ".join(description["conditions"]))]

    def check(self, file: Path, options: Mapping[str, Any], progress: Progress) -> Sequence[tuple[str, str]]:
        data = self.open(file, options)
        if not data.x.isfinite().all():
            raise DataError(f"{file}: a coordinate is not finite.")
        progress("check", len(data), len(data))
        return data.summary()

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> ToyWriter:
        return ToyWriter(file, attributes, n)

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
        a, b = reference.x.norm(dim=1), generated.x.norm(dim=1)
        progress("compare", 1, 1)
        error = float((a.var() / len(a) + b.var() / len(b)).sqrt())
        radius = Estimate(
            float((a.mean() - b.mean()).abs()), error, 0.0, len(b), "m", "lower", "shift of the mean radius"
        )
        hidden = Estimate(math.nan, math.nan, math.nan, len(b), "", "floor", "not measurable: a toy has no depth")
        if isinstance(training, Unavailable):
            copied = Estimate(math.nan, math.nan, math.nan, 0, "", "lower", f"not measurable: {training.reason}")
        else:
            share = float(torch.isin(generated.x[:, 0], training.x[:, 0]).float().mean())
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
