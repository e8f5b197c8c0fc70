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
from pydantic import Field

from ..console.numbers import counted
from ..files import Record

_NAME = "maquette"
_ROOT = Path(__file__).resolve().parents[2]  # the package
PACKAGES = (_NAME, "torch", "numpy", "scipy", "zuko", "h5py", "scikit-learn", "mlflow")
CPUINFO = Path("/proc/cpuinfo")


class Provenance(Record):
    """Where a result comes from.

    >>> found = Provenance(command="maquette", started=now(), python="3.12", packages=packages(), hardware=processor())
    >>> found.git is None  # not known
    True
    """

    command: str = Field(description="the command line")
    started: str = Field(description="when the command began its work, UTC")
    python: str = Field(description="version of Python")
    packages: dict[str, str] = Field(description="installed versions of the packages that results depend on")
    git: str | None = Field(default=None, description="commit of the code, with +changes if it was modified")
    hardware: str = Field(description="the device that did the work")
    host_cores: int | None = Field(default=None, description="CPU cores of the machine")


def gather(device: torch.device | None = None) -> Provenance:
    """The provenance of what this process makes on a device.

    >>> found = gather(torch.device("cpu"))
    >>> found.python == platform.python_version(), found.hardware == hardware(torch.device("cpu"))
    (True, True)
    >>> found.git == git_state(), found.packages == packages()
    (True, True)
    """
    return Provenance(
        command=command(),
        started=now(),
        python=platform.python_version(),
        packages=packages(),
        git=git_state(),
        hardware=hardware(device),
        host_cores=os.cpu_count(),
    )


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command() -> str:
    """This process's command line, ready to be typed.

    >>> from unittest.mock import patch
    >>> with patch.object(sys, "argv", ["/usr/bin/maquette", "fit", "my showers.h5"]):
    ...     command()
    "maquette fit 'my showers.h5'"
    """
    if os.path.basename(sys.argv[0]) in ("__main__.py", "maquette"):
        return shlex.join(["maquette", *sys.argv[1:]])
    return "(called from Python)"


def packages() -> dict[str, str]:
    """Installed versions of `PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def requirements() -> list[str]:
    """Lines of a requirements.txt that pins the package's dependencies to the installed versions.

    The package itself is listed by the address it was installed from, if that can be fetched again; never by its name
    alone, which on a public index may be someone else's.
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
    """The package's direct reference, such as `maquette @ git+https://...@COMMIT`; None for an index or a folder."""
    origin = _origin()
    url, repository, archive = origin.get("url", ""), origin.get("vcs_info"), origin.get("archive_info")
    if repository:
        return f"{_NAME} @ {repository['vcs']}+{url}@{repository['commit_id']}"
    return f"{_NAME} @ {url}" if archive is not None and not url.startswith("file:") else None


def _origin() -> dict[str, Any]:
    """Where pip got the package, as it recorded it (PEP 610); empty for an index."""
    try:
        return json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, json.JSONDecodeError):
        return {}


def git_state() -> str | None:
    """`COMMIT` or `COMMIT+changes` of the package's code; None where that is not known.

    A repository counts only if the package is its root: an environment may lie in someone else's repository.
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
    """The device that did the work, as people name it."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {counted(torch.get_num_threads(), 'thread')}"


def processor() -> str:
    """The processor's model name, else its architecture."""
    name = _cpuinfo(CPUINFO) or _answer("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return name if re.search("CPU|processor", name, re.IGNORECASE) else f"{name} CPU"


def _cpuinfo(file: Path) -> str | None:
    """The first model name in Linux's /proc/cpuinfo; only x86 has one."""
    try:
        found = re.search(r"^model name\s*:\s*(.*\S)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and found[1]
