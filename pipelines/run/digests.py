"""The SHA-256 of whole data files, computed once for each content: ten fits of a study read their data for it once.

A digest is kept in the user's cache folder with what the file system says of the file: its size, its inode, and when
its content and its entry last changed. Where any of these differ, the content is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...core.errors import ArtifactError
from ...domains.plugin import Dataset, Domain
from ..files import Record

_NANOSECONDS_OF_DOUBT = 2 * 10**9  # a second change within the clock tick of the first leaves no trace


class _Known(Record):
    """A digest, and the state of the file it was taken of."""

    state: list[int]
    sha256: str


def cache_folder() -> Path:
    """The folder of what can be computed again: $MAQUETTE_CACHE, else `maquette` in $XDG_CACHE_HOME or `~/.cache`.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, MAQUETTE_CACHE="/scratch/cache"):
    ...     cache_folder()
    PosixPath('/scratch/cache')
    """
    if own := os.environ.get("MAQUETTE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maquette"


def whole_digest(domain: Domain, file: str | Path, data: Dataset, options: Mapping[str, Any] | None = None) -> str:
    """The digest of all rows of a data file.

    Args:
        domain: that opened it.
        file: where it is. What is no regular file, such as a folder, is read each time.
        data: all its rows.
        options: with which it was opened.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> file = plugin.sample_path()
    >>> with TemporaryDirectory() as folder, patch.dict(os.environ, MAQUETTE_CACHE=folder):
    ...     first = whole_digest(plugin, file, plugin.open(file, {}))
    ...     again = whole_digest(plugin, file, plugin.open(file, {}))  # reads no showers
    >>> first == again == plugin.open(file, {}).digest
    True
    """
    path = Path(file).resolve()
    before, now = _state(path), time.time_ns()
    if before is None:
        return data.digest
    key = json.dumps([__version__, domain.name, str(path), dict(options or {})], sort_keys=True, default=str)
    kept = cache_folder() / "digests" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    with suppress(ArtifactError):  # not there yet, or damaged
        known = _Known.read(kept)
        if known.state == before:
            return known.sha256
    sha256 = data.digest
    if _state(path) == before and now - max(before[-2:]) > _NANOSECONDS_OF_DOUBT:
        with suppress(OSError):  # a home that cannot be written costs time alone
            _Known(state=before, sha256=sha256).write(kept)
    return sha256


def _state(path: Path) -> list[int] | None:
    """What changes when a file does; None for anything but a regular file."""
    if not path.is_file():
        return None
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
