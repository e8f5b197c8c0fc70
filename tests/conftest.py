"""Fixtures that every room of the suite shares."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is loaded; see pipelines/cli.py

import pytest
import torch
from maquette.core.data import Batch
from maquette.core.noise import KeyedNoise
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="try the laws on all combinations of space, support and condition"
    )
    parser.addoption(
        "--record", action="append", default=[], metavar="NAME", help="record this family or recipe in test_samples.py"
    )


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_collection_finish(session: pytest.Session) -> None:
    # walking again and again over the million objects of the imported libraries takes a twentieth of the suite's time
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What Maquette keeps for later is no part of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAQUETTE_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Whatever a test draws without a seed of its own does not depend on the tests before it."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed keeps a stack trace for each device that is not there


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data files: $MAQUETTE_DATA, else `shared/data` beside the repository."""
    folder = Path(os.environ.get("MAQUETTE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are not at hand: no folder {folder} (set MAQUETTE_DATA)")
    return folder


@pytest.fixture
def samples_and_losses() -> Callable[[Any, Batch], dict[str, Tensor]]:
    """Samples and losses of a model with keyed noise, by the names "sample" and "stage.player"."""

    def compute(model: Any, batch: Batch) -> dict[str, Tensor]:
        def keyed(seed: int, stream: str) -> KeyedNoise:
            return KeyedNoise(seed, batch.index, stream, dtype=torch.float64)

        with torch.no_grad():
            found = {"sample": model.sample(len(batch), batch.condition, noise=keyed(2, "sample"))}
        for stage in model.stages():
            for player in stage.players:
                found[f"{stage.name}.{player.name}"] = player.objective(batch, keyed(3, "loss")).losses.detach()
        return found

    return compute


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> Callable[[str, Callable[[], dict[str, Tensor]]], dict[str, Tensor]]:
    """Tensors by keys "NAME/..." in the file `samples.safetensors` beside the test.

    With `--record NAME` what `compute()` gives is written there first.
    """
    file = request.path.with_name("samples.safetensors")

    def read(name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        kept = load_file(file)
        if name in request.config.getoption("record"):
            others = {key: value for key, value in kept.items() if not key.startswith(f"{name}/")}
            kept = others | compute()
            save_file(kept, file)
        return {key: value for key, value in kept.items() if key.startswith(f"{name}/")}

    return read
