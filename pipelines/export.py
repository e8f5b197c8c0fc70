"""`maquette export`: a run's generator as one file for C++ frameworks, checked against the Python sampler."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..core import artifact
from ..core.errors import ConfigError, did_you_mean
from ..core.spaces import size
from .atomic import writable, write_json
from .formats import FORMATS, Compute, write
from .graph import Example, ExportError, Port, Signature, example, signature, trace
from .load import Model, load
from .screen import Screen, Silent
from .wording import number

LARGEST = 1e-5
"""Largest difference allowed, in units of the codec's scale (the incident energy of a shower)."""
FLIPPED = 1e-5
"""Largest share of numbers that may be zero on one side only: rounding decides near a threshold."""

_NUMBERS = 1_000_000  # are compared: fewer could not tell a share of 1e-5
_SAMPLES = (16, 4096)  # within these bounds
_SEED = 1
SCHEMA = 1


@dataclass(frozen=True)
class Agreement:
    """How a file's samples compare with the Python sampler's, from the same noise.

    Attributes:
        samples: how many were compared.
        difference: largest difference of a number over the scale of its sample, in groups without a flip.
        sums: largest difference of a group's sum over the scale of its sample, flips or not.
        flipped: share of numbers that are zero on one side only.
    """

    samples: int
    difference: float
    sums: float
    flipped: float

    @property
    def largest(self) -> float:
        """Largest difference of a number or of a sum."""
        return max(self.difference, self.sums)

    @property
    def holds(self) -> bool:
        return self.largest <= LARGEST and self.flipped <= FLIPPED

    def __str__(self) -> str:
        return (
            f"verified on {self.samples:,} samples: largest difference from the Python sampler "
            f"{number(self.largest)} of the scale (allowed {LARGEST:g}), {number(self.flipped)} of the numbers "
            f"across a threshold (allowed {FLIPPED:g})"
        )


@dataclass(frozen=True)
class Exported:
    """What `export` made."""

    file: Path
    sidecar: Path
    agreement: Agreement
    signature: Signature


def export(run: str | Path, *, format: str, out: str | Path, screen: Screen | None = None) -> Exported:
    """Write a run's generator as a file whose inputs are physical conditions and noise, for batches of any size.

    Beside `out` a sidecar `out`.json says what the inputs and outputs are.

    Args:
        run: a run's folder.
        format: "onnx", or "libtorch" for an AOTInductor package.
        out: the file, ending with .onnx or .pt2; written whole or not at all.

    Raises:
        ArtifactError, ConfigError: bad input.
        OSError: the folder of `out` cannot be written; said before the work begins.
        ExportError: something is not installed, the generator cannot be exported, or the file disagrees with it.
    """
    screen = screen or Silent()
    file = Path(out)
    if format not in FORMATS:
        known = " or ".join(FORMATS)
        raise ConfigError(f'--format: expected {known}, found "{format}".{did_you_mean(format, FORMATS)}')
    if file.suffix != FORMATS[format].suffix:
        raise ConfigError(f"--out: expected a name that ends with {FORMATS[format].suffix}, found {file.name}.")
    FORMATS[format].require()
    model = load(run)
    writable(file.parent)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    try:
        screen.progress("export", 0, 3, "draw")
        reference = example(model.generator, _enough(model), seed=_SEED)
        names = signature(model.generator, reference)
        screen.progress("export", 1, 3, "trace and convert")
        write(format, trace(model.generator, names), names, temporary)
        screen.progress("export", 2, 3, "compare")
        found = compare(model, FORMATS[format].open(temporary), reference)
        if not found.holds:
            raise ExportError(
                f"{file}: not written, for it would not repeat the Python sampler: differences up to "
                f"{number(found.largest)} of the scale of a sample (allowed {LARGEST:g}), and "
                f"{number(found.flipped)} of the numbers across a threshold (allowed {FLIPPED:g})."
            )
        artifact.sync(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sidecar = file.with_name(f"{file.name}.json")
    write_json(sidecar, describe(model, format, file, names, found))
    screen.progress("export", 3, 3)
    return Exported(file, sidecar, found, names)


def compare(model: Model, compute: Compute, reference: Example) -> Agreement:
    """Hold a file against the Python sampler: the example's whole batch, and its first sample alone."""
    expected = _rows(reference.outputs)
    codec = model.generator.codec
    scale, groups = codec.error_scale(reference.x, reference.condition)[:, None], codec.sum_groups(expected.shape[1])
    whole = _agreement(expected, _rows(compute(reference.inputs)), scale, groups)
    alone = _agreement(expected[:1], _rows(compute([tensor[:1] for tensor in reference.inputs])), scale[:1], groups)
    return Agreement(
        whole.samples,
        max(whole.difference, alone.difference),
        max(whole.sums, alone.sums),
        whole.flipped + alone.flipped / whole.samples,
    )


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of each sample, (B, N)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def _agreement(expected: Tensor, found: Tensor, scale: Tensor, groups: Tensor) -> Agreement:
    """Compare rows (B, N), given scales (B, 1) and the group (N,) of each number.

    A flip moves what it gains or loses to the others of its group: these are compared by their sum. Where rounding
    decides whether a whole group is empty, nothing of that sample can be: how often is the share of flips.
    """
    empty = torch.zeros(len(expected), int(groups.max()) + 1, dtype=torch.float64)

    def total(values: Tensor) -> Tensor:
        return empty.index_add(1, groups, values.double())

    flipped = (expected == 0) != (found == 0)
    switched = ((total(expected) == 0) != (total(found) == 0)).any(dim=1, keepdim=True)
    error = found.double() - expected.double()
    sums = total(error).abs().masked_fill(switched, 0.0) / scale
    alike = total(flipped) == 0
    numbers = error.abs().masked_fill(~alike.index_select(1, groups) | switched, 0.0) / scale
    largest = (numbers.max().item(), sums.max().item()) if found.isfinite().all() else (math.inf, math.inf)
    return Agreement(len(expected), *largest, flipped.float().mean().item())


def describe(model: Model, format: str, file: Path, names: Signature, found: Agreement) -> dict[str, Any]:
    """The sidecar: all that is needed to call the file from another language."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    details = dict(FORMATS[format].details())
    versions = {"maquette": __version__, **details.pop("versions")}
    return {
        "schema": SCHEMA,
        "file": file.name,
        "format": format,
        "sha256": digest,
        "weights_sha256": model.digest,
        "config_hash": str(model.provenance.get("config_hash", "")),
        "domain": model.domain.name,
        "inputs": [_row(port) for port in names.inputs],
        "outputs": [_row(port) for port in names.outputs],
        "description": model.generator.description,
        "verified": {
            "samples": found.samples,
            "largest_difference": found.difference,
            "largest_difference_of_sums": found.sums,
            "flipped": found.flipped,
        },
        **details,
        "versions": versions,
    }


def _row(port: Port) -> dict[str, Any]:
    row: dict[str, Any] = {"name": port.name, "role": port.role, "dtype": port.dtype, "shape": ["batch", *port.shape]}
    optional = {"distribution": port.distribution, "unit": port.unit, "seen": [list(bounds) for bounds in port.seen]}
    return row | {key: value for key, value in optional.items() if value}


def _enough(model: Model) -> int:
    low, high = _SAMPLES
    return min(max(low, math.ceil(_NUMBERS / size(model.generator.codec.space))), high)
