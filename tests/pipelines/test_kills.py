"""Verbs that are killed (SIGKILL) and repeated leave the bytes of undisturbed ones, with every step logged once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from maquette.core.engine.losses import read_rows
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.generator import ShowerGeneratorConfig
from maquette.domains.calorimeter.sample import sample_path
from maquette.pipelines.mlflow.store import connect


@pytest.fixture(scope="module")
def killed(
    data: Path, graph_data: Path, odd_data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[int]]:
    """The folder in which killed.py worked, and the signals that ended its attempts."""
    folder = tmp_path_factory.mktemp("killed")
    showers = ShowerDataset(sample_path()).rows(0, 500)
    flow = {"kind": "spline", "scheme": "coupling", "transforms": 2, "hidden": [16], "bins": 4}
    family = {"kind": "chain", "split": ["layers"], "first": flow, "second": flow}
    torch.manual_seed(1)
    generator = ShowerGeneratorConfig.model_validate({"family": family}).build(showers.description, showers)
    generator.save(folder / "model", domain="calorimeter")
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(data), "model", str(graph_data)]
    command += [json.dumps(odd_data, default=str)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [int(word) for word in done.stdout.split()]


def test_a_fit_killed_twenty_times_leaves_no_trace_and_each_step_once_in_mlflow(
    killed: tuple[Path, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, endings = killed
    assert endings[:20] == [signal.SIGKILL] * 20
    killed_run, whole_run = folder / "killed", folder / "whole"
    assert read_rows(killed_run / "losses.jsonl", pace=False) == read_rows(whole_run / "losses.jsonl", pace=False)
    weights = Path("model", "weights.safetensors")
    assert (killed_run / weights).read_bytes() == (whole_run / weights).read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    client, _ = connect("toy")
    stories = []
    for name in ("whole", "killed"):
        run = json.loads((folder / name / "tracking.json").read_text())["run_id"]
        assert client.get_run(run).info.status == "FINISHED"
        points = client.get_metric_history(run, "line/line/loss")
        assert [point.step for point in points] == list(range(1, 61))
        stories.append([point.value for point in points])
    assert stories[0] == stories[1]


def test_showers_whose_making_was_killed_are_the_same_file(killed: tuple[Path, list[int]]) -> None:
    """Within a block, while the file is put together, and before it gets its name."""
    folder, endings = killed
    assert endings[20:23] == [signal.SIGKILL] * 3
    assert (folder / "killed.h5").read_bytes() == (folder / "whole.h5").read_bytes()
    assert not (folder / "killed.h5.partial").exists()


def test_a_killed_fit_of_tokens_without_conditions_ends_with_the_same_model(killed: tuple[Path, list[int]]) -> None:
    folder, endings = killed
    assert endings[23:26] == [signal.SIGKILL] * 3
    one, other = (
        (folder / name / "model" / "weights.safetensors").read_bytes() for name in ("graphs-whole", "graphs-killed")
    )
    assert one == other


def test_pools_and_statistics_of_killed_fits_end_as_those_of_undisturbed_ones(killed: tuple[Path, list[int]]) -> None:
    """A pool with slots of the batch, from two sources, and the running statistics of expectation maximisation."""
    folder, endings = killed
    assert endings[26:] == [signal.SIGKILL] * 6
    for domain in ("translation", "mixture"):
        whole, again = folder / f"{domain}-whole", folder / f"{domain}-killed"
        assert read_rows(again / "losses.jsonl", pace=False) == read_rows(whole / "losses.jsonl", pace=False)
        weights = Path("model", "weights.safetensors")
        assert (again / weights).read_bytes() == (whole / weights).read_bytes()
