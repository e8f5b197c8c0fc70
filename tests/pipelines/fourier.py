"""A domain of complex signals of which some frequencies are measured, with noise: an inverse problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from maquette.core.data import Batch
from maquette.core.engine.world import process_group
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.operators import LinearOperator
from maquette.core.spaces import Tree, Vector
from maquette.core.statistics.paired import against_baseline, coverage
from maquette.core.statistics.verdict import verdict
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.generator import GeneratorConfig
from maquette.domains.judging.pairs import positions
from maquette.domains.plugin import Evaluation, Progress, SimulatorConfig, Unavailable
from maquette.domains.verbs import Job, Verb
from scipy.stats import t as student
from torch import Tensor
from toy import Toy, ToyCodec, ToyData, ToyWriter

SITES, MEASURED, NOISE, NOMINAL = 8, (0, 1, 2, 4), 0.05, 0.9


@dataclass(frozen=True)
class MaskedFourier(LinearOperator):
    """Some frequencies of signals (B, SITES)."""

    measured: tuple[int, ...] = MEASURED

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, norm="ortho")[:, self.measured]

    def adjoint(self, y: Tensor) -> Tensor:
        whole = y.new_zeros(len(y), SITES)
        whole[:, self.measured] = y
        return torch.fft.ifft(whole, norm="ortho")


OPERATOR = MaskedFourier()


class SignalCodec(Codec):
    """Real and imaginary parts, of a condition those of the zero-filled signal."""

    fit = ToyCodec.fit

    def __init__(self) -> None:
        super().__init__(Vector(dim=2 * SITES), Vector(dim=2 * SITES))
        self.register_buffer("unit", torch.ones(()))

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return Batch(self._real(batch.x), self.encode_condition(batch.condition), batch.index)

    def encode_condition(self, condition: Any) -> Tree:
        return self._real(OPERATOR.adjoint(condition["kspace"]))

    def decode(self, y: Any, condition: Tree | None) -> Tree:
        return torch.view_as_complex((self.unit * y).unflatten(1, (SITES, 2)))

    def _real(self, signal: Any) -> Tensor:
        return torch.view_as_real(signal).flatten(1) / self.unit


class SignalCodecConfig(CodecConfig):
    kind: Literal["signal"] = "signal"

    def build(self, description: Mapping[str, Any]) -> SignalCodec:
        return SignalCodec()


class SignalGeneratorConfig(GeneratorConfig):
    codec: SignalCodecConfig = SignalCodecConfig()


class SignalSimulatorConfig(SimulatorConfig):
    """Normal draws below an envelope: what is known beforehand fills in the other frequencies."""

    description: ClassVar[Mapping[str, Any]] = {"x": [SITES], "conditions": {"kspace": [len(MEASURED)]}}

    def build(self) -> SignalSimulatorConfig:
        return self

    def simulate(self, index: Tensor, seed: int) -> Batch:
        noise = KeyedNoise(seed, index, stream="simulate")
        envelope = (-(torch.arange(SITES, device=index.device) / 3.0).square()).exp()
        x = envelope * torch.view_as_complex(noise.normal("x", (SITES, 2)))
        measured = OPERATOR.forward(x)
        return Batch(x, {"kspace": measured + NOISE * torch.view_as_complex(noise.normal("y", (4, 2)))}, index)


class SignalData(ToyData):
    """Signals with the rows of another file that they were drawn for, if they were."""

    source_rows: Tensor | None = None

    def fetch(self, index: Tensor) -> Batch:
        return replace(super().fetch(index), source_row=None if self.source_rows is None else self.source_rows[index])

    def rows(self, start: int, stop: int) -> SignalData:
        part = SignalData(**vars(super().rows(start, stop)))
        part.source_rows = None if self.source_rows is None else self.source_rows[start:stop]
        return part


class SignalWriter(ToyWriter):
    """Keeps a measurement once for the samples that were drawn for it."""

    def append(self, batch: Batch) -> None:
        if (row := batch.source_row) is not None:
            before = torch.tensor([-1]) if not self.written else torch.from_numpy(self.stream["source_row"][-1:])
            kspace = batch.condition["kspace"][torch.diff(row, prepend=before) != 0]
            self.grow("source_row", row)
            batch = replace(batch, condition={"kspace": kspace} if len(kspace) else None)
        super().append(batch)


class Reconstruct(Verb):
    """Mean and standard deviation of posterior samples for each measurement."""

    samples: int = 8

    def perform(self, job: Job) -> Sequence[tuple[str, str]]:
        def reconstruct(rows: Tensor) -> Batch:
            x = job.draw_each(rows, self.samples).x.unflatten(0, (-1, self.samples))
            return Batch(
                {"x": x.mean(1), "std": (x - x.mean(1, keepdim=True)).abs().square().mean(1).sqrt()}, None, rows
            )

        assert job.data is not None
        job.stream(reconstruct, len(job.data), job.data.description)
        return [("signals", str(len(job.data)))]


class Fourier(Toy):
    name = "fourier"
    summary = "complex signals, given some of their frequencies"
    generator: type[GeneratorConfig] = SignalGeneratorConfig
    simulator = SignalSimulatorConfig

    def verbs(self) -> Mapping[str, type[Verb]]:
        return {"reconstruct": Reconstruct}

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> SignalData:
        data = SignalData(**vars(super().open(file, options, like)))
        data.source_rows = data.condition.pop("source_row", None)
        if (rows := data.source_rows) is not None:
            data.condition["kspace"] = data.condition["kspace"][(rows.diff(prepend=rows[:1]) != 0).cumsum(0)]
        return data

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> SignalWriter:
        return SignalWriter(file, description, attributes, n)

    def evaluate(
        self,
        reference: SignalData,
        generated: SignalData,
        training: SignalData | Unavailable,
        *,
        seed: int,
        progress: Progress,
        effort: str = "full",
    ) -> Evaluation:
        row = positions(reference, generated)
        with process_group() as world:
            mine = row % world.size == world.rank
            rows, count = row[mine].unique(return_counts=True)
            x = generated.x[mine].unflatten(0, (-1, int(count[0])))
            batch = reference.fetch(rows)
            inside = _inside(x, batch.x)
            power = reference.x.abs().square().mean()
            zero_filled = OPERATOR.adjoint(batch.condition["kspace"])
            error, filled = (((x - batch.x).abs().square().mean(1) / power).numpy() for x in (x.mean(1), zero_filled))
            parts = world.gather((rows.numpy(), error, filled, inside.numpy()))
        rows, error, filled, inside = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(rows)
        rows, error, filled, inside = rows[order], error[order], filled[order], inside[order]
        said = {"better": "lower", "definition": "Squared error of the mean of the samples, in units of the power."}
        nmse = against_baseline(error, rows, filled, rows, name="zero filling", **said)
        sites, definition = rows.repeat(2 * SITES), "Coverage of the intervals of 90 %."
        held = coverage(inside.ravel(), sites, nominal=NOMINAL, definition=definition)
        estimates = {"nmse": nmse, "coverage": held}
        return Evaluation(estimates, figures={}, published=(), verdict=verdict(estimates, len(rows)))


def _inside(x: Tensor, truth: Tensor) -> Tensor:
    """Whether the truth (B, SITES), part by part, lies in the interval that P samples x (B, P, SITES) predict."""
    p, parts = x.shape[1], torch.view_as_real(x)
    width = float(student.ppf(0.5 + NOMINAL / 2, p - 1)) * (1 + 1 / p) ** 0.5 * parts.std(1)
    return (torch.view_as_real(truth) - parts.mean(1)).abs().le(width).flatten(1)


domains.register("fourier")(Fourier())
