"""Every registered family keeps the laws that follow from its capabilities; `pytest --full` tries all combinations."""

import pytest
from maquette.core.families import families
from maquette.core.testing.cover import describe
from maquette.core.testing.laws import LAWS, owed


def pytest_generate_tests(metafunc):
    full = metafunc.config.getoption("full")
    found = [
        pytest.param(config, *case, law, id=f"{name}-{describe(case)}-{law}")
        for name, family in families.items()
        for config in [family.example()]
        for law, *case in owed(config, full=full)
    ]
    metafunc.parametrize(("config", "space", "condition", "law"), found)


def test_law(config, space, condition, law):
    LAWS[law].check(config, space, condition)
