"""Measures on one large GPU what has not been measured yet, most important first, some minutes at a time.

    python benchmarks/gpu_campaign.py --list
    python benchmarks/gpu_campaign.py --budget 10 [--only NAME] [--data DIR] [--out runs/campaign]
    python benchmarks/gpu_campaign.py --rows                # lines for docs/results.md
    python benchmarks/gpu_campaign.py --pack DIR [--wheels DIR]  # for a machine without a network: then sh DIR/run.sh

Every entry has a folder in `--out`; a later call goes on where an earlier one was stopped and skips what is done.
Each figure is a line of JSON in `figures.jsonl`. An entry starts only if its minutes are left of the budget, and if its
data files are there. On a CPU, or with `--dry`, every entry takes two steps on a few samples: that shows that it runs.
`--pack` gathers code and data of the next entries below 60 MiB; `--wheels` names a folder of wheels made for that
machine (pydantic, zuko and whatever it lacks), which are unpacked beside the code.
A recipe that needs a GPU gets its line in `ENTRIES`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import likelihood_mnist
import likelihood_text
import torch
from budgeted import Budget, Progress, Recipe, run
from maquette.core import philox
from maquette.core.data import Source, Subset, TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import CheckpointConfig, ParallelConfig, TrainingConfig
from maquette.core.errors import Interrupted
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Sequence, Space

ROOT = Path(__file__).resolve().parents[1]
LARGEST_PACK = 60 * 2**20  # bytes
EPLUS, DS2 = "calorimeter/geant4_calogan_eplus_train.h5", "calorimeter/geant4_ds2_eminus_train.h5"
MNIST, TEXT = f"core/{likelihood_mnist.FILE}", f"core/{likelihood_text.FILE}"


@dataclass(frozen=True)
class Setting:
    """Where and how an entry runs.

    Attributes:
        data: folder of data files.
        folder: of the entry; what is in it is gone on with.
        device: "cuda" or "cpu".
        dry: two steps on a few samples.
        minutes: of the entry; what is fitted may take 0.65 of them.
    """

    data: Path
    folder: Path
    device: str
    dry: bool
    minutes: float

    @property
    def fitting(self) -> float:
        return 0.65 * self.minutes


@dataclass(frozen=True)
class Figure:
    """A measured value; n, stderr and floor where it has them."""

    name: str
    value: float
    unit: str
    n: int | None = None
    stderr: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Entry:
    """Something to measure.

    Attributes:
        name: unique.
        what: it measures.
        minutes: it may take, fits and judging together.
        files: data files that it needs.
        measure: takes the measurement.
    """

    name: str
    what: str
    minutes: float
    files: tuple[str, ...]
    measure: Callable[[Setting], Iterator[Figure]]


def showers(recipe: str, file: str, training: int, rows: int) -> Callable[[Setting], Iterator[Figure]]:
    """An entry's measurement for a recipe of the calorimeter."""
    return partial(calorimeter, recipe=recipe, file=file, training=training, rows=rows)


def depths(config: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where a config has a depth."""
    for name, value in config.items():
        if name == "depth":
            yield path
        elif isinstance(value, dict):
            yield from depths(value, f"{path}{name}.")


def calorimeter(setting: Setting, *, recipe: str, file: str, training: int, rows: int) -> Iterator[Figure]:
    """Fit a recipe to rows 0 .. training - 1, draw as many showers as are left, and judge them."""
    from maquette.domains import domains
    from maquette.pipelines.arguments import DataSide
    from maquette.pipelines.fit import fit as fit_run
    from maquette.pipelines.generate import generate
    from maquette.pipelines.run.config import resolve
    from maquette.pipelines.validate import validate

    data, fitted, samples = setting.data / file, setting.folder / "run", setting.folder / "samples.h5"
    overrides = ["tracking=none", f"data.rows=0:{training}", f"training.max_minutes={setting.fitting}"]
    held_out = DataSide(data, f"{training}:{rows}")
    if setting.dry:
        held_out = DataSide(data, "64:68")
        overrides[1] = "data.rows=0:64"
        overrides += ["training.parallel.compile=false", "training.parallel.precision=float32"]
        config = resolve(domains.get("calorimeter"), recipe)
        overrides += [f"generator.family.{path}depth=1" for path in depths(config.model_dump()["generator"]["family"])]
        for stage in config.training.stages:
            overrides += [f"training.stages.{stage}.steps=2", f"training.stages.{stage}.batch_size=8"]
    fit_run(
        "calorimeter", data=data, out=fitted, recipe=recipe, overrides=overrides, resume=True, device=setting.device
    )
    made = generate(fitted, out=samples, seed=11, conditions_from=held_out, device=setting.device)
    yield Figure("sampling", 1e3 * made.throughput.sampling / max(1, made.throughput.samples), "ms/shower", made.n)
    if setting.dry:  # tests judge showers; here it would take longer than all the rest
        return
    out = setting.folder / "validation"
    validate("calorimeter", reference=held_out, generated=samples, out=out, track=False)
    found = json.loads((out / "metrics.json").read_text())
    for name, metric in found.get("metrics", found).items():
        if isinstance(metric, dict) and isinstance(metric.get("value"), float) and math.isfinite(metric["value"]):
            yield Figure(name, metric["value"], metric["unit"], metric["n"], metric["stderr"], metric["floor"])


def likelihood(
    setting: Setting, recipe: Recipe, space: Space, train: Source, held_out: Source, test: Source, per: int, unit: str
) -> Iterator[Figure]:
    """Fit a family for the entry's minutes, and score the test samples."""
    folder = setting.folder / "fit"
    if setting.dry:
        few = torch.arange(4)
        held_out, test = Subset(held_out, few), Subset(test, few)
        recipe = replace(recipe, batch=2, draws=2, micro_batch=None)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pace.json").write_text(json.dumps({"steps": 2, "every": 2}))
    budget = Budget(setting.fitting, setting.device, compile=False)
    run(setting.folder.name, recipe, budget, space, train, held_out, test, folder, resume=True)
    found = json.loads((folder / "result.json").read_text())
    yield Figure(
        f"negative log-likelihood ({found['what']})", found["nll"] / per, unit, found["n"], found["error"] / per
    )


def mnist(setting: Setting, *, family: str) -> Iterator[Figure]:
    recipe = likelihood_mnist.recipes("cpu" if setting.dry else "cuda")[family]
    images = likelihood_mnist.images(setting.data / "core", setting.device)
    yield from likelihood(setting, recipe, likelihood_mnist.SPACE, *images, per=1, unit="nats/image")


def text(setting: Setting, *, family: str) -> Iterator[Figure]:
    recipe = likelihood_text.recipes("cpu" if setting.dry else "cuda")[family]
    length = 16 if setting.dry else 256
    characters, vocabulary = likelihood_text.characters(setting.data / TEXT)
    cut = len(characters) * 9 // 10
    rest = characters[cut:].to(setting.device)
    windows = rest[: len(rest) // length * length].reshape(-1, length)
    train = likelihood_text.Windows(characters[:cut].to(setting.device), length)
    parts = train, TensorSource(windows[::2]), TensorSource(windows[1::2])
    space = Sequence(length=length, vocabulary=vocabulary)
    yield from likelihood(setting, recipe, space, *parts, per=length, unit="nats/character")


def matmul_speed(device: str, size: int, dtype: torch.dtype) -> float:
    """Operations per second of a product of two square matrices: what there is to reach."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device)


def timed(work: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def throughput(setting: Setting) -> Iterator[Figure]:
    """A transformer of 25 M weights on 65,536 tokens a step, in the engine, against one large matrix product."""
    width, depth, length, batch, steps = (8, 1, 8, 4, 2) if setting.dry else (512, 8, 256, 256, 100)
    config = TransformerConfig(width=width, depth=depth, heads=width // 64 or 1)
    model = config.build(Sequence(length=length, vocabulary=65))
    size = sum(parameter.numel() for parameter in model.parameters())
    every = 1 if setting.dry else 10
    training = TrainingConfig(
        steps=steps,
        batch_size=batch,
        parallel=ParallelConfig(precision="bfloat16", compile=not setting.dry),
        checkpoint=CheckpointConfig(every=10**9),
        log_every=every,
    )
    watch = Progress()
    source = TensorSource(torch.randint(65, (4 * batch, length), device=setting.device))
    with TemporaryDirectory() as folder:
        fit(training.plan(model.stages()), source, folder, seed=0, device=setting.device, listeners=[watch])
    step = statistics.median(after - before for before, after in pairwise(watch.times)) / every
    flop = batch * length * (6 * size + 12 * depth * width * length)  # Chowdhery et al., arXiv:2204.02311, app. B
    peak = matmul_speed(setting.device, 64 if setting.dry else 8192, torch.bfloat16)
    yield Figure("a step of 25 M weights on 65,536 tokens", 1e3 * step, "ms", steps)
    yield Figure("model operations per second over those of one matrix product", flop / step / peak, "", steps)


def noise(setting: Setting) -> Iterator[Figure]:
    """Small and large draws, and whether their integer part is compiled."""
    for what, batch, features in (("small", 256, 16), ("large", 64 if setting.dry else 2**15, 512)):
        keyed = KeyedNoise(0, torch.arange(batch, device=setting.device))
        own = timed(partial(keyed.normal, "x", (features,)), setting.device)
        shape = (batch, features)
        other = timed(lambda shape=shape: torch.randn(shape, device=setting.device), setting.device)
        yield Figure(f"{what} draw ({batch} x {features} normals)", 1e3 * own, "ms", 10)
        yield Figure(f"{what} draw over torch.randn", own / other, "", 10)
    yield Figure("integers of a draw are compiled, with the same bits", float(philox.fractions.in_use), "", 1)


MNIST_FAMILIES = ("pixelcnn", "transformer", "hierarchical-vae", "made", "vae")
TEXT_FAMILIES = ("transformer", "recurrent")
ENTRIES = (
    Entry("gpu", "recipe `gpu`, e+", 8, (EPLUS,), showers("gpu", EPLUS, 42_000, 58_000)),
    Entry(
        "gpu-distilled", "recipe `gpu-distilled`, e+", 9.5, (EPLUS,), showers("gpu-distilled", EPLUS, 42_000, 58_000)
    ),
    Entry("gpu-ds2", "recipe `gpu-ds2`, W/Si", 9.5, (DS2,), showers("gpu-ds2", DS2, 12_000, 16_000)),
    *(
        Entry(f"mnist-{name}", f"static MNIST, {name}", 9, (MNIST,), partial(mnist, family=name))
        for name in MNIST_FAMILIES
    ),
    *(Entry(f"text-{name}", f"Shakespeare, {name}", 8, (TEXT,), partial(text, family=name)) for name in TEXT_FAMILIES),
    Entry("throughput", "model-flops utilisation of the engine", 4, (), throughput),
    Entry("noise", "keyed noise against torch's own", 2, (), noise),
)
"""What is to be measured on a GPU, most important first."""


def hardware(device: str) -> str:
    return (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"
    )


def commit() -> str:
    """The commit of this code; `--pack` leaves it in a file."""
    file = ROOT.parent / "COMMIT"
    if not (ROOT / ".git").exists() and file.exists():
        return file.read_text().strip()
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def measure(entry: Entry, setting: Setting, results: Path) -> None:
    """Run an entry and append its figures; it counts as done when all of them are in the file."""
    start = time.perf_counter()
    setting.folder.mkdir(parents=True, exist_ok=True)
    figures = list(entry.measure(setting))
    origin = {
        "entry": entry.name,
        "hardware": hardware(setting.device) + (", two steps only" if setting.dry else ""),
        "seconds": round(time.perf_counter() - start, 1),
        "command": shlex.join(["python", "benchmarks/gpu_campaign.py", "--only", entry.name]),
        "commit": commit(),
    }
    with results.open("a") as stream:
        stream.writelines(json.dumps({**asdict(figure), **origin}) + "\n" for figure in figures)
    (setting.folder / "done").touch()


def rows(results: Path) -> str:
    """The figures as lines of a table."""
    lines = ["| entry | figure | value | floor | n | hardware | commit |", "|---|---|---|---|---|---|---|"]
    for line in results.read_text().splitlines():
        row = json.loads(line)
        value = f"{row['value']:.4g}" + ("" if row["stderr"] is None else f" ± {row['stderr']:.2g}")
        floor = "" if row["floor"] is None or math.isnan(row["floor"]) else f"{row['floor']:.3g}"
        count = "" if row["n"] is None else f"{row['n']:,}"
        cells = (
            row["entry"],
            row["name"],
            f"{value} {row['unit']}".strip(),
            floor,
            count,
            row["hardware"],
            row["commit"][:7],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lacking(entry: Entry, data: Path) -> list[str]:
    return [file for file in entry.files if not (data / file).is_file()]


def pack(target: Path, entries: list[Entry], data: Path, wheels: Path | None) -> list[str]:
    """Copy code, wheels and the data of as many entries, in order, as fit; returns their names.

    Raises:
        SystemExit: the code alone is too large, or the folder is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise SystemExit(f"{target}: expected an empty folder, found files in it; choose another.")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith(("tests/", "docs/", ".")) and (ROOT / name).is_file():
            (target / "maquette" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / "maquette" / name)
    for wheel in sorted(wheels.glob("*.whl")) if wheels else ():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target / "site")
    (target / "COMMIT").write_text(commit() + "\n")
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    packed: list[str] = []
    for entry in entries:
        new = [file for file in entry.files if not (target / "data" / file).exists()]
        more = sum((data / file).stat().st_size for file in new)
        if lacking(entry, data) or size + more > LARGEST_PACK - 4096:
            continue
        for file in new:
            (target / "data" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / file, target / "data" / file)
        size += more
        packed.append(entry.name)
    only = " ".join(f"--only {name}" for name in packed)
    (target / "run.sh").write_text(
        'cd "$(dirname "$0")" || exit 1\nPYTHONPATH="$PWD:$PWD/site" exec python3 maquette/benchmarks/gpu_campaign.py '
        f'--data data --out "${{OUT:-campaign}}" {only} "$@"\n'
    )
    if size > LARGEST_PACK or not packed:
        raise SystemExit(f"{target}: {size / 2**20:.0f} MiB without data; no entry fits into 60 MiB.")
    return packed


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what there is, and what is done")
    parser.add_argument("--rows", action="store_true", help="print the figures as rows of a table")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="gather code and data of the next entries")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels to unpack into the pack")
    parser.add_argument("--budget", type=float, default=math.inf, metavar="MINUTES", help="of this call")
    parser.add_argument("--only", action="append", choices=[entry.name for entry in ENTRIES], metavar="NAME")
    parser.add_argument("--dry", action="store_true", help="two steps of everything")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(os.environ.get("MAQUETTE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=folder)
    parser.add_argument("--out", type=Path, default=Path("runs/campaign"))
    options = parser.parse_args(words)
    dry = options.dry or options.device == "cpu"
    out = options.out / "dry" if dry else options.out
    results = out / "figures.jsonl"
    chosen = [entry for entry in ENTRIES if not options.only or entry.name in options.only]
    left = [entry for entry in chosen if not (out / entry.name / "done").exists()]
    if options.list:
        for entry in chosen:
            state = "to do" if entry in left else "done"
            needs = ", ".join(entry.files) or "no data"
            print(f"{entry.name:24s} {entry.minutes:4.1f} min  {state:6s} {entry.what}; needs {needs}")
        return
    if options.rows:
        print(rows(results))
        return
    if options.pack:
        print(
            f"{options.pack}: {', '.join(pack(options.pack, left, options.data, options.wheels))}; start with sh run.sh"
        )
        return
    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for entry in left:
        remaining = options.budget - (time.monotonic() - start) / 60
        if missing := lacking(entry, options.data):
            print(f"{entry.name}: passed over, since {options.data} lacks {', '.join(missing)}.", flush=True)
        elif entry.minutes > remaining and not dry:
            print(f"{entry.name}: passed over; it takes {entry.minutes} minutes, {remaining:.1f} are left.", flush=True)
        else:
            print(f"{entry.name}: {entry.what}", flush=True)
            try:
                measure(entry, Setting(options.data, out / entry.name, options.device, dry, entry.minutes), results)
            except Interrupted as interruption:
                print(interruption, flush=True)
                sys.exit(Interrupted.EXIT_CODE)
    if results.exists():
        print(rows(results))


if __name__ == "__main__":
    main()
