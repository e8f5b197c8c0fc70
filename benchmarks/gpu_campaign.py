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
import math
import os
import sys
import time
from functools import partial
from pathlib import Path

import torch
from campaign.entry import Entry, Setting
from campaign.likelihoods import MNIST, TEXT, mnist, text
from campaign.packing import pack
from campaign.results import ROOT, measure, rows
from campaign.showers import DS2, EPLUS, showers
from campaign.speed import noise, throughput
from maquette.core.errors import Interrupted

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
        if missing := entry.lacking(options.data):
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
