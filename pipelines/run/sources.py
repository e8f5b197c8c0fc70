"""The data of a fit: one file, or several by name, of which the first one leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.engine.world import World
from ...core.errors import ConfigError, did_you_mean
from ...domains.plugin import Dataset, Domain
from ..arguments import select_rows
from .config import DataConfig
from .digests import whole_digest
from .held_out import split_held_out
from .record import DataRecord

DataFiles = str | Path | Mapping[str, str | Path]
"""A data file, or several by name, the leading one first."""


@dataclass(frozen=True)
class DataFile:
    """An opened data file of a fit.

    Attributes:
        name: by which players read it; "" for the only one.
        file: as it was named.
        config: which of its rows are used.
        whole: all its rows.
        sha256: of their content.
    """

    name: str
    file: str
    config: DataConfig
    whole: Dataset
    sha256: str

    @property
    def title(self) -> str:
        """What tables and messages call it."""
        return f"data: {self.file}" if not self.name else f"data {self.name}: {self.file}"

    def chosen(self) -> Dataset:
        """The rows that are used; raises `ConfigError` if the file has no such rows."""
        return select_rows(self.whole, self.config.rows, what=self.file)

    def record(self, training: Dataset) -> DataRecord:
        """What `run.json` says of it, given the rows that are trained on."""
        rows = len(self.whole)
        return DataRecord(name=self.name, file=self.file, sha256=self.sha256, rows=rows, training_rows=len(training))


def open_data(domain: Domain, data: DataFiles, config: DataConfig, world: World) -> list[DataFile]:
    """Open the data of a fit, the leading ones first.

    Raises:
        ConfigError, DataError: a file that cannot be read, no files, or a config that names others.

    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> file = plugin.sample_path()
    >>> config = DataConfig(rows="0:500", validation=50, sources={"muons": {"rows": "0:200"}})
    >>> showers, muons = open_data(plugin, {"electrons": file, "muons": file}, config, World())
    >>> isinstance(muons, DataFile), len(showers.chosen()), len(muons.chosen())
    (True, 500, 200)
    >>> training, held_out = split_all([showers, muons])
    >>> {name: (len(training[name]), len(held_out[name])) for name in training}
    {'electrons': (450, 50), 'muons': (150, 50)}
    """
    files = data if isinstance(data, Mapping) else {"": data}
    if not files:
        raise ConfigError("data: expected a file, or several by name; found none.")
    for name in config.sources:
        if name not in files:
            known = ", ".join(files) if any(files) else "one file without a name"
            raise ConfigError(
                f"data.sources.{name}: there are no such data.{did_you_mean(name, files)} Given: {known}."
            )

    def opened(name: str, file: str | Path) -> DataFile:
        of_it = config.of(name)
        whole = domain.open(Path(file), of_it.options)
        sha256 = world.once(lambda: whole_digest(domain, file, whole, of_it.options))
        return DataFile(name, str(file), of_it, whole, sha256)

    return [opened(name, file) for name, file in files.items()]


def split_all(files: list[DataFile]) -> tuple[dict[str, Dataset], dict[str, Dataset]]:
    """The rows to train on and those held out, by name; none of the latter if none are asked for.

    Raises:
        ConfigError: rows that a file does not have, or rows held out of some files and not of others.
    """
    training, held_out = {}, {}
    for one in files:
        training[one.name], kept = split_held_out(one.chosen(), one.config.validation)
        if kept is not None:
            held_out[one.name] = kept
    if held_out and len(held_out) < len(files):
        lacking = next(one.name for one in files if one.name not in held_out)
        raise ConfigError(
            f"data.sources.{lacking}.validation: no rows are held out, but of {', '.join(held_out)} some are; "
            "players that read both can be judged on both or on none."
        )
    return training, held_out
