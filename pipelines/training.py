"""What the model of a generated file was fitted to: found through its run, or named by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.artifact import weights_digest
from ..core.config import parse
from ..core.errors import ArtifactError, MaquetteError
from ..data_specs.errors import DataError
from ..domains.plugin import Dataset, Domain, Unavailable
from .atomic import read_json
from .config import DataConfig
from .paths import MODEL, Run, enclosing_runs
from .rows import parse_rows, select
from .safe_yaml import read_yaml

REMEDY = "name the training data with --training FILE"


@dataclass(frozen=True)
class Training:
    """Training data: the rows used, and the file they are of, with the SHA-256 of all its content."""

    data: Dataset
    file: Path
    rows: str
    sha256: str


def named_training(
    domain: Domain, generated: Dataset, file: Path, rows: str | None, owner: Run | None, options: Mapping[str, Any]
) -> Training:
    """The training data in a file that the user names; without rows, those the run says if it was fitted to the file.

    Raises:
        ConfigError, DataError: bad rows, no such data, or data of another kind than the generated ones.
    """
    source = domain.open(file, options, generated.description)
    known = _recorded(domain, owner) if owner and rows is None else None
    if known and known.sha256 == source.digest:
        return _used(source, file, known)
    return Training(select(source, rows, what=str(file)), file, rows or "all", source.digest)


def owner_of(generated: Dataset, *places: Path) -> Run | None:
    """The run in or around one of the places whose model made the data, as they say themselves; None if none did."""

    def made(run: Run) -> bool:
        try:
            return generated.origin[MODEL] == weights_digest(run.model)
        except ArtifactError:  # a run without a model yet
            return False

    return next((run for run in enclosing_runs(*places) if made(run)), None) if MODEL in generated.origin else None


def recorded_training(domain: Domain, generated: Dataset, owner: Run | None) -> Training | Unavailable:
    """The training data that the run of a generated file names, or why they cannot be had.

    Args:
        domain: of the data.
        generated: what was generated.
        owner: the run that made it, as the file or the user says.
    """
    made_by = generated.origin.get(MODEL)
    if owner is None:
        lacking = (
            "the generated file does not say which model made it"
            if made_by is None
            else "the run of the generated file is not known"
        )
        return Unavailable(f"{lacking}; name the run with --run RUN, or {REMEDY}")
    try:
        if made_by not in (None, weights_digest(owner.model)):
            return Unavailable(f"the generated file is not by the model of {owner.folder}; {REMEDY}")
        known = _recorded(domain, owner)
        source = domain.open(known.file, known.options, generated.description)
        if source.digest != known.sha256:
            return Unavailable(f"{known.file} no longer holds what {owner.folder} was fitted to; {REMEDY}")
        return _used(source, known.file, known)
    except (MaquetteError, DataError) as error:
        return Unavailable(f"{str(error).rstrip('.')}; {REMEDY}")


@dataclass(frozen=True)
class _Recorded:
    """What a run says of its training data: the rows `first` .. `first + count - 1` of a file."""

    file: Path
    sha256: str
    options: Mapping[str, Any]
    rows: str | None
    count: int


def _recorded(domain: Domain, owner: Run) -> _Recorded:
    """Raises `ArtifactError` or `ConfigError` for a damaged run."""
    config, record = read_yaml(owner.config), read_json(owner.provenance)
    if record.get("domain") != domain.name:
        raise ArtifactError(f'{owner.folder}: is a run of the domain "{record.get("domain")}", not of "{domain.name}".')
    # what the model was is no matter here, so other parts of the config may be of another version
    given = parse(DataConfig, config.get("data", {}), where=f"{owner.config}: data")
    try:
        data = record["data"]
        return _Recorded(Path(data["file"]), data["sha256"], given.options, given.rows, int(data["training_rows"]))
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(f"{owner.provenance}: does not say what the run was fitted to.") from None


def _used(source: Dataset, file: Path, known: _Recorded) -> Training:
    """The first rows of those that the fit was given; the last ones may have been held out."""
    first = parse_rows(known.rows).indices(len(source))[0] if known.rows else 0
    stop = first + known.count
    return Training(source.rows(first, stop), file, f"{first}:{stop}", known.sha256)
