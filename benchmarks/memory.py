"""Measures the peak memory of simulate, fit, generate and validate on periodic fields of 64^3 cells.

    python benchmarks/memory.py [--grid 64] [--samples 1000] [--generated 8] [--channels 8] [--folder DIR]

The domain of this script has a file of `--samples` boxes (1 MiB each for 64^3 cells) and a periodic U-Net that learns
them by flow matching. Each verb runs in a process of its own. Its peak is compared with that of the same verb on boxes
of 8^3 cells, which loads the same libraries; the difference is what the size of a sample costs, and must stay within
the memory that `core/memory.py` grants. The file is read in blocks and by batches, and not held in memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from maquette.core.data import Batch, Source
from maquette.core.memory import WORKING_BYTES, blocks
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.spaces import Field, Tree
from maquette.core.statistics.estimate import Estimate
from maquette.core.statistics.moments import RunningMoments
from maquette.data_specs.hdf5 import blocks as hdf5_blocks
from maquette.data_specs.hdf5 import reading
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.dataset import FileDataset
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import Evaluation, SimulatorConfig
from torch import Tensor

VERBS = ("simulate", "fit", "generate", "validate")
BASELINE_GRID = 8


class BoxCodec(Codec):
    """Divides boxes by their standard deviation."""

    scale: Tensor

    def __init__(self, grid: int) -> None:
        super().__init__(Field(channels=1, grid=(grid,) * 3, periodic=(True,) * 3))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, source: Source) -> None:
        moments = RunningMoments(())
        for batch in blocks(source):
            assert isinstance(batch.x, Tensor)
            moments.add(values := batch.x.flatten(), torch.ones_like(values, dtype=torch.bool))
        self.scale.copy_(moments.std)

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return Batch(batch.x / self.scale, None, batch.index)  # type: ignore[operator]

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y * self.scale  # type: ignore[operator]


class BoxCodecConfig(CodecConfig):
    kind: Literal["box"] = "box"

    def build(self, description: Mapping[str, Any]) -> BoxCodec:
        return BoxCodec(description["grid"])


class BoxGeneratorConfig(GeneratorConfig):
    codec: BoxCodecConfig = BoxCodecConfig()  # type: ignore[assignment]  # frozen, so it may be narrowed


class BoxSimulatorConfig(SimulatorConfig):
    grid: int = 64

    def build(self) -> BoxSimulator:
        return BoxSimulator(self.grid)


class BoxSimulator:
    """White noise, smoothed along each axis."""

    def __init__(self, grid: int) -> None:
        self.description: Mapping[str, Any] = {"grid": grid}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        x = KeyedNoise(seed, index, "simulate").normal("x", (1, *(self.description["grid"],) * 3))
        for axis in (2, 3, 4):
            x = (x + x.roll(1, axis)) / 2**0.5
        return Batch(x, None, index)


@dataclass(frozen=True)
class Boxes:
    """Rows of a file."""

    arrays: Mapping[str, np.ndarray[Any, Any]]


class BoxReader:
    def __init__(self, path: Path) -> None:
        self.path = path
        file = reading.open_hdf5(path, "boxes")
        self.attributes = reading.text_attributes(file)
        self.stored = reading.StoredArray.of(file, "x")
        self.row_bytes = self.stored.row_bytes

    def __len__(self) -> int:
        return len(self.stored)

    def blocks(self, start: int, stop: int) -> Iterator[Boxes]:
        step = reading.BLOCK_BYTES // self.row_bytes
        for low, high in reading.ranges(start, stop, step=step, chunk=self.stored.rows_per_chunk):
            yield Boxes({"x": self.stored.read(low, high)})

    def gather(self, index: np.ndarray[Any, Any]) -> Boxes:
        read = lambda start, stop: {"x": self.stored.read(start, stop)}  # noqa: E731
        return Boxes(reading.gather(read, index, self.stored.rows_per_chunk))

    def summary(self) -> Sequence[tuple[str, str]]:
        return [("boxes", f"{len(self):,}")]


class BoxDataset(FileDataset[BoxReader]):
    @property
    def description(self) -> Mapping[str, Any]:
        return {"grid": self.reader.stored.shape[-1]}

    def batch(self, arrays: Mapping[str, Tensor], index: Tensor) -> Batch:
        return Batch(arrays["x"], None, index)


class BoxWriter:
    def __init__(self, file: Path, attributes: Mapping[str, Any], n: int, grid: int) -> None:
        chunk = hdf5_blocks.rows_per_chunk(4 * grid**3)
        self.writer = hdf5_blocks.BlockWriter(file, n, attributes, chunk=chunk, things="boxes")

    @property
    def written(self) -> int:
        return self.writer.written

    def append(self, batch: Batch) -> None:
        assert isinstance(batch.x, Tensor)
        self.writer.append({"x": batch.x.numpy()})

    def close(self) -> None:
        self.writer.close()


class BoxDomain:
    """What the verbs call, without the parts that they do not need here."""

    name, summary = "boxes", "smooth periodic fields"
    generator, simulator = BoxGeneratorConfig, BoxSimulatorConfig

    def recipes(self) -> Mapping[str, Path]:
        return {}

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> BoxDataset:
        return BoxDataset(BoxReader(file), memory=0)

    def describe(self, description: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return [("cells", f"{description['grid']}^3")]

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> BoxWriter:
        return BoxWriter(file, attributes, n, description["grid"])

    def reference_cost(self, description: Mapping[str, Any]) -> None:
        return None

    def evaluate(self, reference: Source, generated: Source, training: Any, **_: Any) -> Evaluation:
        """The variance of a box, generated over reference."""
        spreads = []
        for side in (reference, generated):
            found = [batch.x.flatten(1).var(1) for batch in blocks(side) if isinstance(batch.x, Tensor)]
            spreads.append(torch.cat(found).double())
        expected, found = spreads
        error = float((expected.var() / len(expected) + found.var() / len(found)).sqrt())
        ratio = float(found.mean() / expected.mean())
        what = Estimate(ratio, error, 1.0, len(found), "", "floor", "Variance of a box, generated over reference.")
        return Evaluation({"variance": what}, figures={}, published=(), verdict="measured")


def recipe(channels: int, held_out: int) -> dict[str, Any]:
    """A U-Net of three levels, two steps in micro-batches of one box."""
    network = {"kind": "unet", "widths": [channels, 2 * channels, 4 * channels], "strides": [2, 2], "depth": 1}
    network |= {"groups": 4, "attention": []}
    return {
        "domain": "boxes",
        "tracking": "none",
        "data": {"validation": held_out},
        "generator": {"family": {"kind": "flow-matching", "network": network, "sampler": {"steps": 2}}},
        "training": {"steps": 2, "batch_size": 2, "micro_batch": 1, "ema_decay": 0.9, "log_every": 1},
    }


def work(verb: str, folder: Path, options: argparse.Namespace) -> None:
    """Run a verb in the folder, and print the peak of this process's memory in MiB."""
    from maquette import fit, generate, simulate, validate

    domains.register("boxes")(BoxDomain())
    if verb == "simulate":
        simulate("boxes", n=options.samples, seed=1, out=folder / "boxes.h5", overrides=[f"grid={options.grid}"])
    elif verb == "fit":
        (folder / "unet.yaml").write_text(yaml.safe_dump(recipe(options.channels, held_out=4)))
        fit("boxes", data=folder / "boxes.h5", out=folder / "run", recipe=str(folder / "unet.yaml"), device="cpu")
    elif verb == "generate":
        generate(folder / "run", n=options.generated, seed=2, out=folder / "new.h5", device="cpu")
    else:
        validate(
            "boxes",
            reference=folder / "boxes.h5",
            generated=folder / "new.h5",
            out=folder / "validation",
            track=False,
        )
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[int, float]]:
    """MiB by verb and grid."""
    peaks: dict[str, dict[int, float]] = {verb: {} for verb in VERBS}
    for grid in (BASELINE_GRID, options.grid):
        place = folder / str(grid)
        place.mkdir()
        for verb in VERBS:
            words = [f"--grid={grid}", f"--samples={options.samples}", f"--generated={options.generated}"]
            words += [f"--channels={options.channels}", f"--folder={place}", f"--verb={verb}"]
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            peaks[verb][grid] = float(done.stdout.split()[-1])
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("grid", 64), ("samples", 1000), ("generated", 8), ("channels", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, help="where the boxes are written; a temporary one if not given")
    parser.add_argument("--verb", choices=VERBS, help="run only this verb, in this process")
    options = parser.parse_args()
    if options.verb:
        return work(options.verb, options.folder, options)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        peaks = measure(options, Path(folder))
    print(f"{options.samples:,} boxes of {options.grid}^3 cells; granted: {WORKING_BYTES['cpu'] // 2**20} MiB")
    for verb, peak in peaks.items():
        more = peak[options.grid] - peak[BASELINE_GRID]
        print(f"{verb:9s} {more:7.0f} MiB more than on {BASELINE_GRID}^3 cells ({peak[options.grid]:.0f} MiB in all)")
    return None


if __name__ == "__main__":
    main()
