"""Two processes that all tests of core share: starting them costs more than their fits."""

from collections.abc import Iterator

import pytest
from maquette.core.testing.training import Crew


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    with Crew(2) as crew:
        yield crew
