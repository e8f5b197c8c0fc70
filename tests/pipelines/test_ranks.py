"""Two processes under torchrun: they fit and generate what one process does, and only the first prints."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from maquette import load
from maquette.core.engine.losses import read_rows
from maquette.pipelines.generate import generate
from maquette.pipelines.verb import verb

SCRIPT = """
import io
import os
import sys
from contextlib import redirect_stdout
sys.path.insert(0, {here!r})
import fourier
import graphs
import mixture
import periodic
import slices
import toy
import translation
from maquette.core.engine.world import process_group
from maquette.data_specs.errors import DataError
from maquette.pipelines.cli import app
from maquette.pipelines.generate import generate
from maquette.pipelines.load import Model
from maquette.pipelines.reporting import latency

latency._SECONDS = 0.01

def drawing(self, index, *rest, draw=Model.draw):
    os.write(1, f"drew {{int(index[0])}}\\n".encode())
    return draw(self, index, *rest)

computed = toy.ToyData.digest

def hashing(self, digest=computed.fget):
    if type(self) is toy.ToyData:
        os.write(1, b"hashed\\n")
    return digest(self)

toy.ToyData.digest = property(hashing)
with process_group():
    for words in {commands!r}:
        app(words, standalone_mode=False)
    toy.ToyData.digest = computed
    with redirect_stdout(io.StringIO()):
        for words in {quiet!r}:
            app(words, standalone_mode=False)
    Model.draw = drawing
    for name, seed in (("complete.h5", 7), ("complete.h5", 8), ("begun.h5", 7)):
        try:
            generate({fitted!r}, n=300, seed=seed, out=name, batch_size=64)
        except DataError:
            os.write(1, b"refused\\n")  # in one call: lines of two processes must not mix
"""


def test_two_processes_do_what_one_does(fitted, data, grown, graph_data, inverse, odd_data, odd_runs, folder, maquette):
    words = ["fit", "toy", "--data", str(data), "--out", "run", "--no-tracking", "data.validation=100"]
    draw = ["generate", "run", "--n", "300", "--seed", "7", "--out", "x.h5", "--batch-size", "64"]
    graphs = ["fit", "graphs", "--data", str(graph_data), "--out", "graphs", "--no-tracking", "data.validation=100"]
    graphs_draw = ["generate", "graphs", "--n", "100", "--seed", "7", "--out", "graphs.h5", "--batch-size", "64"]
    posterior = ["--conditions-from", str(inverse[1]), "--per-condition", "8", "--seed", "7", "--batch-size", "100"]
    signals = [
        ["generate", str(inverse[0]), "--out", "posterior.h5", *posterior],
        ["validate", "fourier", *judged("posterior.h5", inverse), "--out", "both"],
        ["fourier", "reconstruct", str(inverse[0]), "--data", str(inverse[1]), "--out", "means.h5", "--seed", "7"],
    ]
    generate(fitted, n=300, seed=7, out="complete.h5", batch_size=64)
    shutil.copy("complete.h5", "begun.h5.partial")
    with h5py.File("begun.h5.partial", "a") as stream:
        for name in ("x", "angle"):
            stream[name].resize(200, axis=0)
    shutil.copy("complete.h5", "x.part-0-150.h5")  # of a killed command with another batch size
    before = (folder / "complete.h5").read_bytes()

    here = str(Path(__file__).parent)
    script = SCRIPT.format(
        here=here,
        commands=[words, draw, graphs, graphs_draw, *signals],
        quiet=[*odd_commands(odd_data, odd_runs)],
        fitted=str(fitted),
    )
    (folder / "both.py").write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "both.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MAQUETTE_CACHE": str(folder / "cache")}
    done = subprocess.run(launch, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: run") == 2  # once per command
    assert done.stdout.count("hashed") == 1  # once per data file
    for run, one in (("run", fitted), ("graphs", grown)):
        ours, theirs = (load(each).generator.state_dict() for each in (folder / run, one))
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    generate(folder / "run", n=300, seed=7, out="one.h5", batch_size=64)
    same_samples("x.h5", "one.h5")
    generate(folder / "graphs", n=100, seed=7, out="graphs-one.h5", batch_size=64)
    same_samples("graphs.h5", "graphs-one.h5", ("x",))

    # several samples for each condition, compared with the reference by rows, and a verb of the domain
    generate(inverse[0], seed=7, out="posterior-one.h5", conditions_from=inverse[1], per_condition=8, batch_size=100)
    same_samples("posterior.h5", "posterior-one.h5", ("x", "kspace", "source_row"))
    maquette("validate", "fourier", *judged("posterior.h5", inverse), "--out", "one")
    assert (folder / "both" / "metrics.json").read_bytes() == (folder / "one" / "metrics.json").read_bytes()
    verb("fourier", "reconstruct", inverse[0], data=inverse[1], out="means-one.h5", seed=7)
    same_samples("means.h5", "means-one.h5", ("x", "std"))

    # a complete file is left alone, another command's refused by both, and of a begun one only the rest is drawn
    printed = [line for line in done.stdout.splitlines() if line.startswith(("drew", "refused"))]
    assert sorted(printed) == ["drew 128", "drew 192", "drew 256", "refused", "refused"]
    assert (folder / "complete.h5").read_bytes() == before
    same_samples("begun.h5", "complete.h5")
    assert not list(folder.glob("*.part*"))

    # slices and volumes, several sources, slots of a batch, and steps without a gradient, in float64
    def radius(folder):
        return json.loads((folder / "metrics.json").read_text())["metrics"]["radius"]["value"]

    for domain in odd_data:
        same_losses(folder / f"odd-{domain}", odd_runs / domain)
        generated, judgement = odd_verbs(domain, odd_data, odd_runs, "one")
        assert maquette(*generated).exit_code == 0
        same_samples(f"both-{domain}.h5", f"one-{domain}.h5", ODD_PARTS[domain])
        assert maquette(*judgement).exit_code == 0
        assert radius(folder / f"both-{domain}") == pytest.approx(radius(folder / f"one-{domain}"), abs=1e-5)


ODD_PARTS = {
    "periodic": ("x", "amplitude", "density"),
    "slices": ("x",),
    "translation": ("x", "photo"),
    "mixture": ("x",),
}


def odd_verbs(domain, odd_data, odd_runs, where):
    """The generation of 40 samples of a domain, and their validation, into files and folders of some name."""
    files = odd_data[domain]
    leading = str(next(iter(files.values())) if isinstance(files, dict) else files)
    given = ["--conditions-from", leading] if len(ODD_PARTS[domain]) > 1 else []
    file = f"{where}-{domain}.h5"
    # slices are judged by volumes, which here are the model's own
    reference = file if domain == "slices" else leading
    judgement = ["validate", domain, "--reference", reference, "--generated", file, "--out", f"{where}-{domain}"]
    generated = ["generate", str(odd_runs / domain), "--n", "40", "--seed", "7", "--batch-size", "16", "--out", file]
    return [*generated, *given], [*judgement, "--no-tracking"]


def odd_commands(odd_data, odd_runs):
    """What both processes do with each domain whose samples, sources or steps are unlike those of the toy."""
    for domain, files in odd_data.items():
        yield from odd_verbs(domain, odd_data, odd_runs, "both")
        data = [f"{name}={file}" for name, file in files.items()] if isinstance(files, dict) else [str(files)]
        given = [word for file in data for word in ("--data", file)]
        yield ["fit", domain, *given, "--out", f"odd-{domain}", "training.parallel.precision=float64"]


def same_losses(one, other):
    first, second = (read_rows(run / "losses.jsonl", pace=False) for run in (one, other))
    assert len(first) == len(second) > 10
    for row, again in zip(first, second, strict=True):
        assert {name: row[name] for name in ("stage", "player", "step")} == {
            name: again[name] for name in ("stage", "player", "step")
        }
        assert row["loss"] == pytest.approx(again["loss"], rel=1e-9)


def judged(generated, inverse):
    return ["--reference", str(inverse[1]), "--generated", generated, "--no-tracking"]


def same_samples(first, second, names=("x", "angle")):
    with h5py.File(first) as one, h5py.File(second) as two:
        assert set(one) == set(names)
        for name in names:
            assert one[name][:] == pytest.approx(two[name][:], abs=1e-5)
