"""A fitted model on disk: a folder with `config.json` and `weights.safetensors`. Loading never unpickles.

The folder is written under a temporary name, flushed and renamed, so that a reader sees the whole artefact or none.
The config holds the SHA-256 of the weights and ends with one of its own, so that a flipped bit is an error. Complex
tensors lie in the file as pairs of real numbers, and the config names them.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     save(Path(folder) / "model", {"kind": "line"}, {"slope": torch.ones(2)})
...     config, tensors = load(Path(folder) / "model")
>>> config, tensors
({'kind': 'line'}, {'slope': tensor([1., 1.])})

The functions that `load` is made of read the parts:

>>> with tempfile.TemporaryDirectory() as folder:
...     model = Path(folder) / "model"
...     save(model, {"kind": "line"}, {"slope": torch.ones(2)})
...     config, tensors = read_config(model / CONFIG), read_tensors(model / WEIGHTS)
...     config[DIGEST] == weights_digest(model)
True
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .checksum import file_digest, seal, unseal
from .dtypes import as_pairs
from .errors import ArtifactError

SCHEMA = 3
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
DIGEST = "weights_sha256"
"""Key of the weights' digest in `config.json`."""
COMPLEX = "complex_tensors"
"""Key of the names of the complex tensors in `config.json`; it is not there if there are none."""
_LARGEST_CONFIG = 16 * 2**20
_LARGEST_HEADER = 64 * 2**20
_PICKLE_MARKS = (*(bytes((0x80, protocol)) for protocol in range(2, 6)), b"PK\x03\x04")


def save(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write an artefact, replacing a previous one at the same place.

    Mappings keep their order, because it has a meaning: the parts of a `Product` are flattened in that order.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        save_file({name: _copy(tensor) for name, tensor in tensors.items()}, temporary / WEIGHTS)
        names = [name for name, tensor in tensors.items() if tensor.is_complex()]
        notes = {COMPLEX: names} if names else {}
        text = json.dumps(seal({"schema": SCHEMA, **config, **notes, DIGEST: weights_digest(temporary)}), indent=2)
        (temporary / CONFIG).write_text(text + "\n", encoding="utf-8")
        # safetensors makes its files private; give the weights the permissions of the config, which follow the umask
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)
        for name in (CONFIG, WEIGHTS):
            sync(temporary / name)
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read an artefact: (config, tensors on the CPU).

    Raises:
        ArtifactError: not an artefact, a pickle in place of the weights, truncated or damaged, or of a later schema.
    """
    folder = Path(folder)
    config, weights = folder / CONFIG, folder / WEIGHTS
    for file in (config, weights):
        if not file.is_file():
            raise ArtifactError(f"{folder}: expected a fitted model ({CONFIG} and {WEIGHTS}), found no {file.name}.")
    content = read_config(config)
    expected, tensors = content.pop(DIGEST), read_tensors(weights)
    if expected != (found := weights_digest(folder)):
        raise ArtifactError(
            f"{weights}: damaged, or not the weights of this model (SHA-256 {found[:12]}, expected "
            f"{str(expected)[:12]}); copy the folder again."
        )
    return content, tensors | _as_complex(content.pop(COMPLEX, []), tensors, config)


def _copy(tensor: Tensor) -> Tensor:
    """A copy for the file, with memory of its own."""
    return as_pairs(tensor.detach().cpu()).contiguous().clone()


def _as_complex(names: Any, tensors: Mapping[str, Tensor], config: Path) -> dict[str, Tensor]:
    """The tensors that a config says are complex; raises `ArtifactError` if they cannot be."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f'{config}: "{COMPLEX}" should be a list of names; copy the folder again.')
    for name in names:
        found = tensors.get(name)
        if found is None or found.dtype not in (torch.float32, torch.float64) or found.shape[-1:] != (2,):
            what = "none of that name" if found is None else f"{found.dtype} of shape {tuple(found.shape)}"
            raise ArtifactError(
                f'{config}: "{COMPLEX}" names {name}, expected pairs of float32 or float64 in {WEIGHTS}, found {what}; '
                "copy the folder again."
            )
    return {name: torch.view_as_complex(tensors[name]) for name in names}


def weights_digest(folder: Path) -> str:
    """SHA-256 of an artefact's weights; generated files name their model by it. Raises `ArtifactError`."""
    try:
        return file_digest(folder / WEIGHTS)
    except OSError as error:
        raise ArtifactError(f"{folder / WEIGHTS}: cannot be read ({error.strerror}).") from None


def read_config(file: Path) -> dict[str, Any]:
    """Read `config.json`.

    Raises:
        ArtifactError: too large, not JSON, of another schema, or edited or damaged since it was written.
    """
    if file.stat().st_size > _LARGEST_CONFIG:
        raise ArtifactError(f"{file}: {file.stat().st_size} bytes is too large for a config.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not text, not JSON, endless numbers, endless brackets
        raise ArtifactError(f"{file}: not readable as JSON ({error}).") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(f"{file}: expected schema {SCHEMA}, found {found}; fit again with this version.")
    try:
        content = unseal(content)
    except ValueError as error:
        raise ArtifactError(f"{file}: edited or damaged ({error}); copy the folder again, or fit again.") from None
    content.pop("schema")
    if not isinstance(content.get(DIGEST), str):
        raise ArtifactError(f"{file}: expected the SHA-256 of the weights as {DIGEST}, found none; fit again.")
    return content


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file after checking that it is one; raises `ArtifactError`."""
    length = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(_PICKLE_MARKS) and (len(head) < 8 or struct.unpack("<Q", head)[0] > length):
        raise ArtifactError(
            f"{file}: this is a pickle (torch.save), which can run code when read; only safetensors are loaded."
        )
    if len(head) < 8 or struct.unpack("<Q", head)[0] > min(length - 8, _LARGEST_HEADER):
        raise ArtifactError(f"{file}: not a whole safetensors file ({length} bytes); copy it again.")
    try:
        return load_file(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{file}: not a readable safetensors file ({error}); copy it again.") from None


def restore(module: torch.nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> None:
    """Load tensors into a module by name.

    Raises:
        ArtifactError: names or shapes differ from what the config builds, or one is complex and the other is not.

    >>> line = torch.nn.Linear(1, 1)
    >>> restore(line, {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}, what="line")
    >>> line(torch.tensor([3.0])).item()
    7.0
    """
    wanted = module.state_dict()
    missing, foreign = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or foreign:
        raise ArtifactError(f"{what}: weights do not fit the config (missing {missing[:3]}, foreign {foreign[:3]}).")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise ArtifactError(
                f"{what}: {name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}."
            )
        if tensor.is_complex() != tensors[name].is_complex():
            raise ArtifactError(f"{what}: {name} is {tensors[name].dtype}, expected {tensor.dtype}.")
    module.load_state_dict(dict(tensors))


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk (fsync).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "note.txt"
    ...     _ = file.write_text("kept")
    ...     sync(file)
    ...     sync(file.parent)  # the name of the file, too
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, final: Path) -> None:
    """Put a finished folder in its place; a previous one is moved aside first and removed last."""
    sync(temporary)
    if final.exists():
        aside = final.with_name(f".{final.name}.{os.getpid()}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(final, aside)
        os.rename(temporary, final)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.rename(temporary, final)
    sync(final.parent)
