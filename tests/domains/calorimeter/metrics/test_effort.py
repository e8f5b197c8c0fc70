"""The named efforts: each is cheaper than the one before, and an unknown name is answered with the known ones."""

from itertools import pairwise

import pytest
from maquette.core.errors import ConfigError
from maquette.domains.calorimeter.metrics.effort import EFFORTS, ShowerEffort
from maquette.domains.judging.effort import effort_named


def test_full_effort_is_the_default() -> None:
    assert effort_named("full", EFFORTS) == ShowerEffort()


def test_no_size_grows_from_full_to_quick_to_smoke() -> None:
    assert list(EFFORTS) == ["full", "quick", "smoke"]
    for more, less in pairwise(EFFORTS.values()):
        assert less.showers < more.showers
        assert all(getattr(less, size) <= getattr(more, size) for size in ShowerEffort.model_fields)


def test_an_unknown_effort_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r'called "smok"\. Did you mean "smoke".* Known: full, quick, smoke\.'):
        effort_named("smok", EFFORTS)
