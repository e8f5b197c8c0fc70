"""Small files written whole or not at all: under a temporary name, flushed, renamed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..core.artifact import sync
from ..core.errors import ArtifactError


def writable(folder: Path) -> Path:
    """Make a folder, and try to write there before hours of work come to it; raises `OSError` naming the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        error.filename = str(folder)
        raise


def write_text(file: Path, text: str) -> None:
    """Replace a file's content; raises `OSError` and leaves the old content on a full disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sync(file.parent)


def write_json(file: Path, value: Any) -> None:
    """Write plain data; raises `ValueError` for NaN, which JSON does not have."""
    write_text(file, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Read a mapping; raises `ArtifactError` where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{file}: not readable as JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{file}: expected a JSON object, found {type(value).__name__}.")
    return value
