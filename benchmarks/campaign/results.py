"""Figures on disk: one line of JSON each, with where they come from, and as rows of a table."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import torch

from .entry import Entry, Setting

ROOT = Path(__file__).resolve().parents[2]


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
        floor = "" if row["floor"] is None else f"{row['floor']:.3g}"
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
