"""The folder of a run: its name, its files, and how to recognise it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import ArtifactError, ConfigError
from ..files import own_files

MODEL_SHA256 = "model_sha256"
"""Key under which generated files and evaluations name their model, by the SHA-256 of its weights."""
LEASE = ".lease.json"
"""Who works in the folder at the moment (`lease`)."""
_NAME = re.compile(r"\w[\w.+=@,-]{0,99}")


@dataclass(frozen=True)
class Run:
    """The files of one run below its folder.

    >>> Run(Path("runs/a")).losses
    PosixPath('runs/a/losses.jsonl')
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved config; its presence makes a folder a run."""
        return self.folder / "config.yaml"

    @property
    def record(self) -> Path:
        """Where the run comes from, and how far it is."""
        return self.folder / "run.json"

    @property
    def model(self) -> Path:
        """The artefact: `config.json` and `weights.safetensors`."""
        return self.folder / "model"

    @property
    def losses(self) -> Path:
        return self.folder / "losses.jsonl"

    @property
    def tracking(self) -> Path:
        """Which MLflow run the fit is logged in."""
        return self.folder / "tracking.json"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def expect_own_files(self) -> None:
        """Raise `ArtifactError` if one of its files is a symbolic link; the folder itself may be one."""
        files = (self.config, self.record, self.losses, self.tracking, self.report, self.folder / LEASE)
        folders = (self.model, self.figures, self.folder / "checkpoints")
        own_files(*files, *folders)
        for folder in folders[:2]:
            own_files(*(folder.iterdir() if folder.is_dir() else ()))


def new_run(name: str | Path) -> Run:
    """The run that `--out` names, which may or may not exist yet.

    Raises:
        ConfigError: a name with ".." or with characters that a shell, a URL or another file system would change; a
            file, or a folder that holds something else.
        ArtifactError: one of the files of an existing run is a symbolic link.

    >>> new_run("runs/../a")
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: "runs/../a": a run name may not contain "..".
    """
    path = Path(name)
    if ".." in path.parts:
        raise ConfigError(f'"{name}": a run name may not contain "..".')
    if not _NAME.fullmatch(path.name):
        raise ConfigError(
            f'"{name}": a run name begins with a letter, digit or "_", goes on with those or any of . + = @ , - '
            "and has at most 100 characters."
        )
    run = Run(path)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: there is a file of this name; choose another folder for the run.")
    others = path.is_dir() and any(not file.name.startswith(LEASE) for file in path.iterdir())
    if others and not run.config.is_file():
        raise ConfigError(f"{path}: this folder holds other files and is no run; choose another one.")
    run.expect_own_files()
    return run


def existing_run(path: str | Path) -> Run:
    """The run whose folder is `path`.

    Raises:
        ArtifactError: there is nothing, or something else, or one of its files is a symbolic link.

    >>> existing_run("runs/a")
    Traceback (most recent call last):
    maquette.core.errors.ArtifactError: runs/a: there is no such run; `maquette fit ... --out runs/a` makes one.
    """
    run = Run(Path(path))
    if not run.folder.exists():
        raise ArtifactError(f"{path}: there is no such run; `maquette fit ... --out {path}` makes one.")
    if not run.config.is_file():
        raise ArtifactError(
            f"{path}: expected the folder of a run (with config.yaml and a model in safetensors), found "
            f"{'a folder without them' if run.folder.is_dir() else 'a file; files are never unpickled'}."
        )
    run.expect_own_files()
    return run


def enclosing_runs(*paths: Path) -> Iterator[Run]:
    """Runs among the given paths, their parents and the parents of these.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     run = Run(Path(folder))
    ...     run.config.touch()
    ...     run.record.touch()
    ...     next(enclosing_runs(run.folder / "validation" / "metrics.json")) == run
    True
    """
    for path in paths:
        for folder in (path, path.parent, path.parent.parent):
            if Run(folder).config.is_file() and Run(folder).record.is_file():
                yield Run(folder)
