"""Where a result comes from: versions, git state, hardware and the command line."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import torch

from .wording import counted

_NAME = "maquette"
_ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (_NAME, "torch", "numpy", "scipy", "zuko", "h5py", "scikit-learn", "mlflow")
CPUINFO = Path("/proc/cpuinfo")


def gather(device: torch.device | None = None) -> dict[str, Any]:
    """Provenance as plain data."""
    found = {"command": command(), "started": now(), "python": platform.python_version(), "packages": packages()}
    return found | {"git": git_state(), "hardware": hardware(device), "host_cores": os.cpu_count()}


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command() -> str:
    """The command line as one could type it again."""
    if os.path.basename(sys.argv[0]) in ("__main__.py", "maquette"):
        return shlex.join(["maquette", *sys.argv[1:]])
    return "(called from Python)"


def packages() -> dict[str, str]:
    """Installed versions of what results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def requirements() -> list[str]:
    """What pip needs to have this package run elsewhere as it does here: its dependencies at their present versions.

    The package itself is there by the address it was installed from, if that can be fetched again. By its name alone
    it is not, for on a public index that may be someone else's.
    """
    found = []
    for requirement in distribution(_NAME).requires or ():
        name, _, marker = (part.strip() for part in requirement.partition(";"))
        if "extra" not in marker:
            name = re.split(r"[^\w.-]", name, maxsplit=1)[0]
            try:
                found.append(f"{name}=={version(name).partition('+')[0]}")  # +cpu and the like are not on an index
            except PackageNotFoundError:  # for another Python or system
                continue
    return [*found, *([address] if (address := _address()) else [])]


def _address() -> str | None:
    """The package's direct reference, such as `maquette @ git+https://...@COMMIT`; None if it has none but a folder."""
    origin = _origin()
    url, repository, archive = origin.get("url", ""), origin.get("vcs_info"), origin.get("archive_info")
    if repository:
        return f"{_NAME} @ {repository['vcs']}+{url}@{repository['commit_id']}"
    return f"{_NAME} @ {url}" if archive is not None and not url.startswith("file:") else None


def _origin() -> dict[str, Any]:
    """What pip wrote down of where it got the package (PEP 610); empty for an index."""
    try:
        return json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, json.JSONDecodeError):
        return {}


def git_state() -> str | None:
    """`COMMIT` or `COMMIT+changes` of the package's code; None where that is not known.

    The repository around the package counts only if the package is all of it: an environment may lie in anyone's.
    """
    git = ("git", "-C", str(_ROOT))
    top = _answer(*git, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != _ROOT:
        return _origin().get("vcs_info", {}).get("commit_id")
    commit = _answer(*git, "rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+changes" if _answer(*git, "status", "--porcelain", "--untracked-files=no") else "")


def _answer(*command: str) -> str | None:
    """What a command prints; None if there is no such command, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def hardware(device: torch.device | None) -> str:
    """The device that did the work, in words."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {counted(torch.get_num_threads(), 'thread')}"


def processor() -> str:
    """The processor's name as its maker gave it, else the kind of machine."""
    name = _cpuinfo(CPUINFO) or _answer("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return name if re.search("CPU|processor", name, re.IGNORECASE) else f"{name} CPU"


def _cpuinfo(file: Path) -> str | None:
    """The first model name that Linux tells; machines other than x86 have none."""
    try:
        found = re.search(r"^model name\s*:\s*(.*\S)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and found[1]
