"""`maquette export`: a run's generator as one file for C++ frameworks, checked against the Python sampler."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..core import artifact
from ..core.checksum import file_digest
from ..core.errors import ConfigError, did_you_mean
from ..core.spaces import size
from .console.screen import Screen, Silent
from .exporting.agreement import Agreement, compare
from .exporting.formats import FORMATS, write
from .exporting.trace import ExportError, Port, Signature, draw_example, signature_of, trace
from .files import writable, write_json
from .load import Model, load

_VALUES = 1_000_000  # to compare: fewer could not resolve a fraction of 1e-5
_SAMPLES = (16, 4096)  # fewest and most to compare
_SEED = 1
SCHEMA = 1


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        file: where it is.
        sidecar: the JSON file that describes it.
        agreement: how it compares with the Python sampler.
        signature: its inputs and outputs.
    """

    file: Path
    sidecar: Path
    agreement: Agreement
    signature: Signature


def export(run: str | Path, *, format: str, out: str | Path, screen: Screen | None = None) -> Exported:
    """Write a run's generator as a file whose inputs are physical conditions and noise, for batches of any size.

    A sidecar `out`.json beside it describes the inputs and outputs.

    Args:
        run: a run's folder, or that of an artefact.
        format: "onnx", or "libtorch" for an AOTInductor package.
        out: the file, ending with .onnx or .pt2; written whole or not at all.
        screen: where progress is shown; nowhere if not given.

    Raises:
        ArtifactError, ConfigError: bad input.
        OSError: the folder of `out` cannot be written; raised before the work begins.
        ExportError: something is not installed, the generator cannot be exported, or the file disagrees with it.

    A generator that is not fitted, only built, stands in for a run:

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.core.config import parse
    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> data = plugin.open(plugin.sample_path(), {}).rows(0, 50)
    >>> family = {"kind": "coupling", "transforms": 2, "hidden": [4]}
    >>> generator = parse(plugin.generator, {"family": family}, where="example").build(data.description, data)
    >>> with TemporaryDirectory() as folder:
    ...     generator.save(Path(folder) / "model", domain="calorimeter")
    ...     exported = export(f"{folder}/model", format="onnx", out=f"{folder}/showers.onnx")
    >>> isinstance(exported, Exported), exported.file.name, exported.agreement.holds
    (True, 'showers.onnx', True)
    >>> [(port.name, port.role, port.shape) for port in (*exported.signature.inputs, *exported.signature.outputs)]
    [('energy', 'condition', (1,)), ('family/prior', 'noise', (510,)), ('showers', 'sample', (504,))]

    What is asked for is checked before the run is read:

    >>> export("runs/a", format="torchscript", out="shower.pt")
    Traceback (most recent call last):
    ...
    maquette.core.errors.ConfigError: --format: expected onnx or libtorch, found "torchscript". Did you mean "libtorch"?
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
        expected = draw_example(model.generator, _samples_to_compare(model), seed=_SEED)
        signature = signature_of(model.generator, expected)
        screen.progress("export", 1, 3, "trace and convert")
        write(format, trace(model.generator, signature), signature, temporary)
        screen.progress("export", 2, 3, "compare")
        found = compare(model.generator.decoder, FORMATS[format].open(temporary), expected)
        if not found.holds:
            raise ExportError(f"{file}: not written, because it would not repeat the Python sampler: {found.found}.")
        artifact.sync(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sidecar = file.with_name(f"{file.name}.json")
    write_json(sidecar, describe(model, format, file, signature, found))
    screen.progress("export", 3, 3)
    return Exported(file, sidecar, found, signature)


def describe(model: Model, format: str, file: Path, signature: Signature, found: Agreement) -> dict[str, Any]:
    """The sidecar: everything that is needed to call the file from another language."""
    details = dict(FORMATS[format].details())
    versions = {"maquette": __version__, **details.pop("versions")}
    return {
        "schema": SCHEMA,
        "file": file.name,
        "format": format,
        "sha256": file_digest(file),
        "weights_sha256": model.digest,
        "config_hash": str(model.config.get("config_hash", "")),
        "domain": model.domain.name,
        "inputs": [_port(port) for port in signature.inputs],
        "outputs": [_port(port) for port in signature.outputs],
        "description": model.generator.description,
        "verified": {
            "samples": found.samples,
            **{name: one.value for name, one in found.differences.items()},
        },
        **details,
        "versions": versions,
    }


def _port(port: Port) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": port.name, "role": port.role, "dtype": port.dtype, "shape": ["batch", *port.shape]}
    optional = {"distribution": port.distribution, "unit": port.unit, "seen": [list(bounds) for bounds in port.seen]}
    return entry | {key: value for key, value in optional.items() if value}


def _samples_to_compare(model: Model) -> int:
    low, high = _SAMPLES
    return min(max(low, math.ceil(_VALUES / size(model.generator.space))), high)
