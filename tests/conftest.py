"""Fixtures that every room of the suite shares."""

import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is loaded; see pipelines/cli.py

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="try the laws on all combinations of space, support and condition"
    )


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data files: $MAQUETTE_DATA, else `shared/data` beside the repository."""
    folder = Path(os.environ.get("MAQUETTE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are not at hand: no folder {folder} (set MAQUETTE_DATA)")
    return folder
