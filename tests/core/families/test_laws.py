"""Every registered family keeps the laws that its capabilities make it owe."""

import pytest
from maquette.core.families import families
from maquette.core.testing.bench import cases
from maquette.core.testing.laws import LAWS, applicable


def owed():
    for name, family in families.items():
        config = family.example()
        for number, case in enumerate(cases(config)):
            for law in applicable(config, *case):
                yield pytest.param(config, *case, law, id=f"{name}-{number}-{law}")


@pytest.mark.parametrize(("config", "space", "condition", "law"), list(owed()))
def test_law(config, space, condition, law):
    LAWS[law].check(config, space, condition)
