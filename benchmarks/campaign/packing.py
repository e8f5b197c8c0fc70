"""A folder with code, wheels and data for a machine without a network and without pip."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .entry import Entry
from .results import ROOT, commit

LARGEST = 60 * 2**20
"""Bytes of a pack, at most."""


def pack(target: Path, entries: Sequence[Entry], data: Path, wheels: Path | None) -> list[str]:
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
        if entry.lacking(data):
            continue
        new = [file for file in entry.files if not (target / "data" / file).exists()]
        more = sum((data / file).stat().st_size for file in new)
        if size + more > LARGEST - 4096:
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
    if size > LARGEST or not packed:
        raise SystemExit(f"{target}: {size / 2**20:.0f} MiB without data; no entry fits into 60 MiB.")
    return packed
