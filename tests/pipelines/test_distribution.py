"""A domain in a distribution of its own: installed by pip, found through its entry point, fitted by the command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import maquette
import pytest

HERE = Path(__file__).parent
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "small-graphs"
version = "1.0"

[project.entry-points."maquette.domains"]
graphs = "graphs:GRAPHS"

[tool.setuptools]
py-modules = ["graphs", "toy"]

[tool.setuptools.data-files]
"recipes/graphs" = ["quick.yaml"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which pip has put the distribution."""
    project, target = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("installed") / "site"
    (project / "pyproject.toml").write_text(PROJECT)
    for file in ("graphs.py", "toy.py", "recipes/graphs/quick.yaml"):
        shutil.copy(HERE / file, project)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*install, "--target", str(target), str(project)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def test_an_installed_domain_is_found_listed_and_fitted(installed, graph_data, tmp_path):
    package = str(Path(maquette.__file__).parents[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(installed), package))}

    def command(*words: str) -> str:
        run = [sys.executable, "-m", "maquette", *words]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = command("list", "domains")
    assert "graphs" in listed
    assert "connected graphs of at most five atoms" in " ".join(listed.split())
    two = ["training.steps=2", "training.log_every=1", "data.validation=100"]
    command("fit", "graphs", "--data", str(graph_data), "--out", "run", "--no-tracking", *two)
    assert (tmp_path / "run" / "model" / "weights.safetensors").is_file()
    assert len((tmp_path / "run" / "losses.jsonl").read_text().splitlines()) >= 2
