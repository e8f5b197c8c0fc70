"""The digest is that of names, types, shapes and values."""

import numpy as np
import pytest
from maquette.data_specs.hdf5.digest import content_digest

ARRAYS = {"field": np.arange(24, dtype=np.complex64).reshape(4, 2, 3), "label": np.arange(4, dtype=np.int16)}


def blocks(step):
    return [{name: values[low : low + step] for name, values in ARRAYS.items()} for low in range(0, 4, step)]


def test_blocks_order_of_names_and_of_bytes_do_not_matter():
    whole = content_digest([ARRAYS])
    assert content_digest(blocks(1)) == content_digest(blocks(3)) == whole
    assert content_digest([dict(reversed(ARRAYS.items()))]) == whole
    assert content_digest([ARRAYS | {"label": ARRAYS["label"].astype(">i2")}]) == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"label": ARRAYS["label"].astype(np.int32)},
        {"label": ARRAYS["label"][::-1]},
        {"field": ARRAYS["field"].reshape(4, 3, 2)},
        {"field": ARRAYS["field"].conj() + 1e-6j},
        {"more": ARRAYS["label"]},
    ],
)
def test_content_matters(changes):
    assert content_digest([ARRAYS | changes]) != content_digest([ARRAYS])
