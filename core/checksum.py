"""Checksums of what is on disk: SHA-256 of files, and JSON that ends with the SHA-256 of the rest of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "sha256"
"""Key of the checksum in a sealed mapping."""


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; raises `OSError`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "note.txt"
    ...     _ = file.write_text("kept")
    ...     file_digest(file)[:12]
    '79f076abdd19'
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON with the SHA-256 of its text as the last key.

    >>> list(seal({"steps": 7}))
    ['steps', 'sha256']
    """
    return {**content, KEY: _digest(content)}


def unseal(content: Mapping[str, Any]) -> dict[str, Any]:
    """What was sealed, after it was written and read.

    >>> unseal(json.loads(json.dumps(seal({"steps": 7}))))
    {'steps': 7}

    Raises:
        ValueError: a checksum that is missing, or that of another content.
    """
    rest = {key: value for key, value in content.items() if key != KEY}
    found, expected = content.get(KEY), _digest(rest)
    if found is None:
        raise ValueError("it has no checksum of its own (SHA-256)")
    if found != expected:
        raise ValueError(f"its SHA-256 is {expected[:12]}, not the {str(found)[:12]} at its end")
    return rest


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
