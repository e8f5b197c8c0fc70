"""Ranges of rows as users write them: `42000:50000`, `:1000`, `-4000:`."""

from __future__ import annotations

import re

from ..core.errors import ConfigError
from ..domains.plugin import Dataset

_ROWS = re.compile(r"(-?\d*):(-?\d*)")


def parse_rows(text: str) -> slice:
    """Read `START:STOP` as Python does, negative numbers counting from the end.

    Raises:
        ConfigError: anything else.
    """
    match = _ROWS.fullmatch(text)
    if not match or "-" in match.groups():
        raise ConfigError(f'rows are written START:STOP, such as 0:42000 or -4000:; found "{text}".')
    start, stop = (int(part) if part else None for part in match.groups())
    return slice(start, stop)


def select(data: Dataset, rows: str | None, *, what: str) -> Dataset:
    """The rows of a data set that a user asked for; all if `rows` is None.

    Raises:
        ConfigError: the range is empty or reaches beyond the file.
    """
    if rows is None:
        return data
    asked = parse_rows(rows)
    start, stop, _ = asked.indices(len(data))
    beyond = [edge for edge in (asked.start, asked.stop) if edge is not None and not -len(data) <= edge <= len(data)]
    if beyond or start >= stop:
        raise ConfigError(f"{what}: rows {rows} were asked for, but the file has {len(data)} rows.")
    return data.rows(start, stop)
