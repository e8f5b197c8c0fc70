"""Two processes under torchrun: they fit and generate what one process does, and only the first speaks."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from maquette import load
from maquette.pipelines.generate import generate

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import toy
from maquette.pipelines.cli import app
from maquette.core.engine.parallel import joined
with joined():
    for words in {commands!r}:
        app(words, standalone_mode=False)
"""


def test_two_processes_do_what_one_does(fitted, data, folder):
    words = ["fit", "toy", "--data", str(data), "--out", "run", "--no-tracking", "data.validation=100"]
    draw = ["generate", "run", "--n", "300", "--seed", "7", "--out", "x.h5", "--batch-size", "64"]
    here = str(Path(__file__).parent)
    (folder / "both.py").write_text(SCRIPT.format(here=here, commands=[words, draw]))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "both.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: run") == 2  # once per command
    ours, theirs = (load(run).generator.state_dict() for run in (folder / "run", fitted))
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    generate(folder / "run", n=300, seed=7, out="one.h5", batch_size=64)
    with h5py.File("x.h5") as two, h5py.File("one.h5") as one:
        for name in ("x", "angle"):
            assert two[name][:] == pytest.approx(one[name][:], abs=1e-5)
    assert not list(folder.glob("*.part-*"))
