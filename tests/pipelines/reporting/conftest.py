"""A validated run, of which reports are made."""

import shutil

import pytest
from maquette.pipelines.validate import validate


@pytest.fixture
def validated(fitted, data, broken, folder):
    """A copy of the run, validated."""
    run = folder / "run<b>"
    shutil.copytree(fitted, run)
    validate("toy", reference=data, generated=broken, out=run / "validation", run=run, track=False)
    return run
