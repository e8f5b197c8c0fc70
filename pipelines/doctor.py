"""`maquette doctor`: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from .console.extras import EXTRAS, install_line
from .mlflow.store import connect, store_uri

_LEAST_DISK = 2 * 2**30


class Check(NamedTuple):
    """One line of `maquette doctor`.

    Attributes:
        what: its subject.
        found: what this machine has.
        remedy: what to do; empty if all is well.
        needed: whether nothing works without it.

    >>> Check("extra export", "missing: onnx", remedy="python -m pip install onnx", needed=False).found
    'missing: onnx'
    """

    what: str
    found: str
    remedy: str
    needed: bool


def examine() -> list[Check]:
    """Check Python, PyTorch, devices, threads, memory, disk, the tracking store and the optional extras.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MLFLOW_TRACKING_URI="ftp://nowhere"):
    ...     checks = examine()
    >>> [check.what for check in checks][:6]
    ['python', 'torch', 'devices', 'threads', 'memory', 'disk']
    >>> next(check.remedy for check in checks if check.what == "mlflow store")
    'set MLFLOW_TRACKING_URI to a store that answers, or fit with tracking=none'
    """
    return [*_machine(), _disk(Path.cwd()), _store(), *_extras()]


def _machine() -> Iterator[Check]:
    old = sys.version_info < (3, 11)
    yield Check("python", platform.python_version(), "install Python 3.11 or later" if old else "", True)
    yield Check("torch", torch.__version__, "", True)
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Check("devices", ", ".join(["cpu", *names]), "", False)
    yield Check("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores", "", False)
    yield _memory()


def _memory() -> Check:
    """Total and free memory of the machine."""
    try:
        import psutil  # pyright: ignore[reportMissingModuleSource]
    except ModuleNotFoundError:
        return Check("memory", "not known without psutil", install_line("cluster"), False)
    memory = psutil.virtual_memory()
    return Check("memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free", "", False)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    remedy = "" if free >= _LEAST_DISK else "free some space, or work on another disk"
    if not writable:
        remedy = "change to a folder that you may write to"
    return Check("disk", f"{free / 2**30:.1f} GiB free in {folder}", remedy, not writable)


def _store() -> Check:
    try:
        connect("Default")
    except Exception as error:  # MLflow and its databases raise all sorts of errors
        remedy = "set MLFLOW_TRACKING_URI to a store that answers, or fit with tracking=none"
        return Check("mlflow store", f"{store_uri()}: {str(error).splitlines()[0]}", remedy, False)
    return Check("mlflow store", store_uri(), "", False)


def _extras() -> Iterator[Check]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        found = f"missing: {', '.join(missing)}" if missing else "present"
        yield Check(f"extra {extra}", found, install_line(extra) if missing else "", False)
