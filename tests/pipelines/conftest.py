"""The toy domain, data files and a run of it, and the command line in a folder of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

HERE = Path(__file__).parent
for _name in ("toy", "cloud", "given", "fourier", "periodic", "slices", "translation", "mixture", "graphs"):
    _spec = importlib.util.spec_from_file_location(_name, HERE / f"{_name}.py")
    assert _spec
    assert _spec.loader
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])

from maquette.pipelines.cli import app  # noqa: E402 - the toy registers itself first
from maquette.pipelines.fit import fit  # noqa: E402
from maquette.pipelines.generate import generate  # noqa: E402
from maquette.pipelines.reporting import latency  # noqa: E402
from maquette.pipelines.simulate import simulate  # noqa: E402

Command = Callable[..., Result]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 points."""
    return simulate("toy", n=900, seed=3, out=tmp_path_factory.mktemp("data") / "points.h5").file


@pytest.fixture(scope="session")
def cloud_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 points without conditions."""
    return simulate("cloud", n=900, seed=3, out=tmp_path_factory.mktemp("cloud") / "points.h5").file


@pytest.fixture(scope="session")
def graph_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 graphs of one to five atoms."""
    return simulate("graphs", n=400, seed=3, out=tmp_path_factory.mktemp("graphs") / "graphs.h5").file


@pytest.fixture(scope="session")
def grown(graph_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on graphs, which tests must leave as it is."""
    run = tmp_path_factory.mktemp("runs") / "grown"
    fit("graphs", data=graph_data, out=run, overrides=["tracking=none", "data.validation=100"])
    return run


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points on a circle that is too large."""
    file = tmp_path_factory.mktemp("broken") / "broken.h5"
    simulate("toy", n=500, seed=9, out=file, overrides=["radius=1.3"])
    return file


@pytest.fixture(scope="session")
def fitted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which tests must leave as it is."""
    run = tmp_path_factory.mktemp("runs") / "fitted"
    fit("toy", data=data, out=run, overrides=["tracking=none", "data.validation=100"])
    return run


@pytest.fixture(scope="session")
def inverse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of complex signals given some of their frequencies, and 200 of them that were held out."""
    folder = tmp_path_factory.mktemp("fourier")
    simulate("fourier", n=4000, seed=1, out=folder / "signals.h5")
    simulate("fourier", n=200, seed=2, out=folder / "held-out.h5")
    fit("fourier", data=folder / "signals.h5", out=folder / "run", overrides=["tracking=none"])
    return folder / "run", folder / "held-out.h5"


@pytest.fixture(scope="session")
def odd_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Data of the domains whose samples, sources or fits are unlike those of the toy; of `translation` two files."""
    folder = tmp_path_factory.mktemp("odd")

    def made(domain: str, name: str, n: int, *overrides: str) -> Path:
        simulate(domain, n=n, seed=3, out=folder / f"{name}.h5", overrides=overrides)
        return folder / f"{name}.h5"

    paintings = made("translation", "paintings", 37, "what=paintings")
    return {
        "periodic": made("periodic", "boxes", 40),
        "slices": made("slices", "slices", 300),
        "translation": {"photos": made("translation", "photos", 45), "paintings": paintings},
        "mixture": made("mixture", "numbers", 300),
    }


@pytest.fixture(scope="session")
def odd_runs(odd_data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each of these domains, in float64, under the domain's name."""
    folder = tmp_path_factory.mktemp("odd-runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "_SECONDS", 0.01)
        for domain, files in odd_data.items():
            fit(domain, data=files, out=folder / domain, overrides=["training.parallel.precision=float64"])
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test, with a tracking store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def generated(fitted: Path, folder: Path) -> Path:
    """A file of the run's own model, next to a copy of the run."""
    shutil.copytree(fitted, folder / "run")
    generate(folder / "run", n=50, seed=4, out="gen.h5")
    return folder / "gen.h5"


@pytest.fixture
def maquette(folder: Path) -> Command:
    """The command line in this process."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def start(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """The command line in a process of its own."""

    def begin(*words: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(HERE / "toy.py"), *map(str, words)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin
