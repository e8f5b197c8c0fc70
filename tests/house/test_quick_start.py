"""`maquette --help` and `import maquette` are quick: what takes long to import is imported where it is used."""

import re
import subprocess
import sys

import pytest

HEAVY = {"torch", "mlflow", "matplotlib", "numpy", "scipy", "sklearn", "h5py", "pandas", "zuko", "jinja2"}


def _imported(*arguments: str) -> set[str]:
    """Top-level packages that a fresh interpreter imports, as it reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    modules = re.findall(r"^import time:.*\|\s+([\w.]+)$", done.stderr, re.MULTILINE)
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "arguments",
    [("-m", "maquette", "--help"), ("-m", "maquette", "fit", "--help"), ("-c", "import maquette")],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments):
    found = _imported(*arguments)
    assert "maquette" in found
    assert found & HEAVY == set()


def test_the_list_of_imports_would_name_what_is_heavy():
    assert "numpy" in _imported("-c", "import numpy")
