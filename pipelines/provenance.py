"""Where a result comes from: versions, git state, hardware and the command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("maquette", "torch", "numpy", "scipy", "zuko", "h5py", "scikit-learn", "mlflow")


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


def git_state() -> str | None:
    """`COMMIT` or `COMMIT+changes` of the working folder; None outside a repository."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+changes" if ask("status", "--porcelain", "--untracked-files=no") else "")


def hardware(device: torch.device | None) -> str:
    """The device that did the work, in words."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.processor() or platform.machine()} CPU, {threads} thread{'s' * (threads > 1)}"
