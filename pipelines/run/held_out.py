"""Which rows of a data set are held out of a fit: the last ones, cut where no group is on both sides."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.errors import ConfigError
from ...domains.plugin import Dataset, Grouped


def split_held_out(data: Dataset, held_out: int) -> tuple[Dataset, Dataset | None]:
    """Rows to train on, and at least the last `held_out` ones; None if none are asked for.

    In data with groups (`Grouped`) more rows are held out where the cut would divide a group.

    Raises:
        ConfigError: there are no more rows than that, or every such cut divides a group.

    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> training, held_out = split_held_out(plugin.open(plugin.sample_path(), {}), 500)
    >>> len(training), len(held_out)
    (5000, 500)
    """
    if held_out >= len(data):
        raise ConfigError(f"data.validation: {held_out} rows cannot be held out of {len(data)}.")
    if not held_out:
        return data, None
    first = len(data) - held_out
    if isinstance(data, Grouped):
        first = last_cut(data.groups, first)
        if not first:
            count = len(data.groups.unique())
            raise ConfigError(
                f"data.validation: {held_out} of {len(data)} rows cannot be held out without parts of a group on both "
                f"sides; there are {count} groups. Hold fewer rows out, or sort the file by group."
            )
    return data.rows(0, first), data.rows(first, len(data))


def last_cut(groups: Tensor, first: int) -> int:
    """The largest number of rows, up to `first`, whose groups none of the rows after them has.

    >>> last_cut(torch.tensor([4, 4, 7, 7, 7, 1]), first=4)  # between the groups 4 and 7
    2
    >>> last_cut(torch.tensor([4, 7, 4, 7]), first=3)  # there is no such cut
    0
    """
    _, number = groups.unique(return_inverse=True)
    rows = torch.arange(len(groups))
    last = torch.zeros_like(number).scatter_reduce(0, number, rows, "amax")  # row in which each group is seen last
    ends = last[number].cummax(0).values <= rows  # whether all groups so far have ended
    return int((ends[:first].nonzero() + 1).max()) if ends[:first].any() else 0
