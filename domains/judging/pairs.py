"""Generated samples that belong to rows of the reference: which belongs to which."""

from __future__ import annotations

import torch
from torch import Tensor

from ...data_specs.errors import DataError
from ..plugin import Dataset, Paired


def positions(reference: Dataset, generated: Dataset) -> Tensor:
    """The positions in the reference, int64 (n,), of the rows that the generated samples belong to.

    Raises:
        DataError: the generated data do not say, or belong to rows that are not among those of the reference.

    A reference that has rows 11 and 12 of a file:

    >>> from types import SimpleNamespace
    >>> from maquette.core.data import Batch
    >>> def fetch(index):
    ...     return Batch(torch.zeros(len(index), 1), None, index + 11)
    >>> class Rows(SimpleNamespace):
    ...     def __len__(self):
    ...         return 2
    >>> positions(Rows(fetch=fetch), SimpleNamespace(source_rows=torch.tensor([12, 11, 11])))
    tensor([1, 0, 0])
    >>> positions(Rows(fetch=fetch), SimpleNamespace(source_rows=torch.tensor([10, 10, 11, 11])))
    Traceback (most recent call last):
    maquette.data_specs.errors.DataError: the generated samples belong to rows 10 to 11, the reference has ...
    """
    rows = generated.source_rows if isinstance(generated, Paired) else None
    if rows is None:
        raise DataError(
            "the generated data do not say which rows of the reference they belong to; draw them with "
            "`maquette generate RUN --conditions-from` the file of the reference."
        )
    first = int(reference.fetch(torch.zeros(1, dtype=torch.int64)).index)
    found = rows - first
    if bool(((found < 0) | (found >= len(reference))).any()):
        raise DataError(
            f"the generated samples belong to rows {int(rows.min())} to {int(rows.max())}, the reference has rows "
            f"{first} to {first + len(reference) - 1}; choose rows with --reference-rows or --generated-rows."
        )
    return found
