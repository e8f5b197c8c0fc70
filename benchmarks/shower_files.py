"""Measures the cost of writing, reading and checking shower files, per shower and relative to sampling.

    python benchmarks/shower_files.py FILE [--showers 8000] [--sampling-ms 3]

FILE supplies the showers (copied to a temporary folder); `--sampling-ms` is the time per shower of the model with which
the cost is compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from maquette.data_specs.calorimeter.checks import check_showers
from maquette.data_specs.calorimeter.showers import ShowerReader
from maquette.data_specs.calorimeter.writer import ShowerWriter

BATCH = 500


def main(file: Path, n: int, sampling: float) -> None:
    with ShowerReader(file) as reader:
        n = min(n, len(reader))
        block, geometry = reader.read(0, n), reader.geometry
    with tempfile.TemporaryDirectory() as folder:
        for level in (0, 1, 4):
            copy = Path(folder) / f"level{level}.h5"

            def write(copy: Path = copy, level: int = level) -> None:
                with ShowerWriter(copy, geometry, n, compression=level) as writer:
                    for start in range(0, n, BATCH):
                        rows = slice(start, start + BATCH)
                        conditions = {name: values[rows] for name, values in block.conditions.items()}
                        writer.append(block.deposits[rows], conditions)

            cost = _per_shower(write, n)
            print(f"write, gzip {level}: {cost:.4f} ms a shower, {copy.stat().st_size / n:,.0f} bytes; ", end="")
            print(f"{100 * cost / sampling:.2f} % of {sampling:g} ms")
        copy = Path(folder) / "level1.h5"
        for name, task in (("check", lambda: check_showers(copy)), ("digest", ShowerReader(copy).digest)):
            cost = _per_shower(task, n)
            print(f"{name}: {cost:.4f} ms a shower; {100 * cost / sampling:.2f} % of {sampling:g} ms")


def _per_shower(task: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    task()
    return 1000 * (time.perf_counter() - start) / n


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--showers", type=int, default=8000)
    parser.add_argument("--sampling-ms", type=float, default=3.0)
    arguments = parser.parse_args()
    main(arguments.file, arguments.showers, arguments.sampling_ms)
