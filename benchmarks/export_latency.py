"""Measures the time per sample in Python, in onnxruntime and as an AOTInductor package, on a CPU.

    python benchmarks/export_latency.py RUN [--batch 1 1000] [--threads 1 2] [--seconds 3]

A simulation draws one shower at a time, each on one thread: batch 1 on one thread is its cost. All three compute the
same samples from the same tensors and alternate, so that a busy machine slows all of them; figures are medians of the
wall time per sample, ratios are to Python in the same turn. Each number of threads is measured in its own process,
because LibTorch and OpenMP set theirs once. Loading and the first call are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from maquette.core.noise import TapeNoise
from maquette.pipelines.export import export
from maquette.pipelines.exporting.formats import FORMATS
from maquette.pipelines.exporting.trace import draw_example
from maquette.pipelines.load import load


def measure(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of every call, alternating, until the time is over and each was called at least five times."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(times))]) < 5:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


@torch.no_grad()
def rows(run: Path, files: dict[str, Path], batches: list[int], threads: int, seconds: float) -> None:
    """Print a row per batch size and runtime."""
    torch.set_num_threads(threads)
    generator = load(run).generator
    opened = {kind: FORMATS[kind].open(file) for kind, file in files.items()}
    for n in batches:
        drawn = draw_example(generator, n, seed=3)
        calls: dict[str, Callable[[], object]] = {
            "python": lambda n=n, d=drawn: generator.sample(n, d.condition, noise=TapeNoise(d.noise))
        }
        calls |= {kind: lambda c=compute, d=drawn: c(d.inputs) for kind, compute in opened.items()}
        times = measure(calls, seconds)
        for kind, taken in times.items():
            ratio = statistics.median(mine / python for mine, python in zip(taken, times["python"], strict=True))
            each = 1e3 * statistics.median(taken) / n
            print(f"| {kind} | {n} | {threads} | {each:.4f} | {ratio:.2f} | {len(taken)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="per batch size")
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.files:
        files = {kind: words.files / f"samples{form.suffix}" for kind, form in FORMATS.items()}
        rows(words.run, files, words.batch, words.threads[0], words.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind, form in FORMATS.items():
            export(words.run, format=kind, out=Path(folder) / f"samples{form.suffix}")
        print("| runtime | batch | threads | ms per sample | ratio to python | repeats |\n|---|--:|--:|--:|--:|--:|")
        for threads in words.threads:
            command = [sys.executable, __file__, str(words.run), "--files", folder, "--threads", str(threads)]
            command += ["--seconds", str(words.seconds), "--batch", *map(str, words.batch)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})


if __name__ == "__main__":
    main()
