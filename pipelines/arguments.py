"""Arguments that several verbs take: seeds, counts, devices, and rows of data files.

The command line imports this module at its start, so torch is imported where it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from ..domains.plugin import Dataset

LARGEST_SEED = 2**31 - 1
"""The largest seed that file attributes and other libraries' generators can hold as well."""

_DEVICE = re.compile(r"cpu|cuda(:(0|[1-9]\d{0,2}))?")
_NAMED_FILE = re.compile(r"(?P<name>[A-Za-z_][\w-]*)=(?P<file>.+)")
_SIZE = re.compile(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*")
_ROWS = re.compile(r"(-?\d*):(-?\d*)")


def check_seed(seed: Any) -> int:
    """The seed as an int.

    Raises:
        ConfigError: anything but a whole number from 0 to `LARGEST_SEED`.

    >>> check_seed(7)
    7
    """
    try:
        number = index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= LARGEST_SEED:
        raise ConfigError(f"seed: expected a whole number from 0 to {LARGEST_SEED}, found {seed!r}.")
    return number


def data_files(words: Sequence[str]) -> str | dict[str, str]:
    """The data files that `--data` names: one file, or NAME=FILE each, the leading one first.

    A single word that names a file is that file, whatever is in its name.

    Raises:
        ConfigError: several files without names, or a name given twice.

    >>> data_files(["showers.h5"])
    'showers.h5'
    >>> data_files(["photos=a.h5", "paintings=b.h5"])
    {'photos': 'a.h5', 'paintings': 'b.h5'}
    """
    if len(words) == 1 and (Path(words[0]).exists() or not _NAMED_FILE.fullmatch(words[0])):
        return words[0]
    files: dict[str, str] = {}
    for word in words:
        match = _NAMED_FILE.fullmatch(word)
        if match is None:
            raise ConfigError(f'--data "{word}": several data files are given by their names, as --data NAME=FILE.')
        if match["name"] in files:
            raise ConfigError(f'--data: the name "{match["name"]}" is given twice; each data file has its own.')
        files[match["name"]] = match["file"]
    return files


def parse_size(text: str) -> tuple[int, ...]:
    """Read the sides of a grid, separated by commas.

    Raises:
        ConfigError: anything else.

    >>> parse_size("128,64,64")
    (128, 64, 64)
    """
    if not _SIZE.fullmatch(text):
        raise ConfigError(f'--size: sides are whole numbers separated by commas, such as 128,64,64; found "{text}".')
    return tuple(int(side) for side in text.split(","))


def check_counts(n: int, batch_size: int) -> None:
    """Raise `ConfigError` unless there is at least one sample, and one in a batch.

    >>> check_counts(0, batch_size=1000)
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: expected at least one sample and a batch of at least one, found 0 and 1000.
    """
    if n < 1 or batch_size < 1:
        raise ConfigError(f"expected at least one sample and a batch of at least one, found {n} and {batch_size}.")


def resolve_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is the GPU if there is one. Each rank takes its own GPU.

    Raises:
        ConfigError: not a device, or not there.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not _DEVICE.fullmatch(name):  # PyTorch knows more, such as "meta", on which nothing can be computed
        raise ConfigError(f'"{name}" is not a device; expected auto, cpu, cuda or cuda:NUMBER.')
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
        if number >= count:
            raise ConfigError(f"{device}: PyTorch sees {count} GPUs here; choose --device cpu or auto.")
        device = torch.device("cuda", number)
    return device


def parse_rows(text: str) -> slice:
    """Read `START:STOP` as Python does; negative numbers count from the end.

    Raises:
        ConfigError: anything else.

    >>> parse_rows("-4000:")
    slice(-4000, None, None)
    """
    match = _ROWS.fullmatch(text)
    if not match or "-" in match.groups():
        raise ConfigError(f'rows are written START:STOP, such as 0:42000 or -4000:; found "{text}".')
    start, stop = (int(part) if part else None for part in match.groups())
    return slice(start, stop)


def select_rows(data: Dataset, rows: str | None, *, what: str) -> Dataset:
    """The rows START:STOP of a data set; all if `rows` is None.

    Args:
        data: the data set.
        rows: START:STOP, see `parse_rows`.
        what: name of the data set in error messages.

    Raises:
        ConfigError: the range is empty or goes beyond the file.

    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> select_rows(plugin.open(plugin.sample_path(), {}), "-500:", what="showers.h5")
    ShowerDataset(eplus_sample.h5, geometry=calogan, rows 5000 .. 5499, conditions=energy)
    """
    if rows is None:
        return data
    asked = parse_rows(rows)
    start, stop, _ = asked.indices(len(data))
    beyond = [edge for edge in (asked.start, asked.stop) if edge is not None and not -len(data) <= edge <= len(data)]
    if beyond or start >= stop:
        raise ConfigError(f"{what}: rows {rows} were asked for, but the file has {len(data)} rows.")
    return data.rows(start, stop)


@dataclass(frozen=True)
class DataSide:
    """A data file, or some of its rows: one side of a comparison, or where conditions come from.

    Args:
        file: the data file.
        rows: START:STOP, as `parse_rows` reads it; all rows if None.

    Raises:
        ConfigError: rows that are not written START:STOP.

    >>> DataSide("showers.h5", rows="42000:50000")
    DataSide(file='showers.h5', rows='42000:50000')
    """

    file: str | Path
    rows: str | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            parse_rows(self.rows)

    @classmethod
    def of(cls, given: str | Path | DataSide) -> DataSide:
        """The side that a verb was given; a path means all rows of the file."""
        return given if isinstance(given, DataSide) else cls(given)

    @property
    def path(self) -> Path:
        return Path(self.file)

    def select(self, data: Dataset) -> Dataset:
        """This side's rows of the opened file; raises `ConfigError` if it has no such rows."""
        return select_rows(data, self.rows, what=str(self.file))
