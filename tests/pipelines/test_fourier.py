"""Posterior samples of an inverse problem: several for each measurement, judged row by row, reconstructed by a verb."""

import html
import re
import shlex
import shutil

import h5py
import numpy as np
import pytest
import torch
from fourier import OPERATOR, SITES
from maquette.core.errors import ConfigError
from maquette.core.testing.operators import check_operator
from maquette.data_specs.errors import DataError
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.generate import generate
from maquette.pipelines.load import Model
from maquette.pipelines.simulate import simulate
from maquette.pipelines.validate import validate
from maquette.pipelines.verb import verb


@pytest.fixture
def posterior(inverse, folder):
    """Eight samples for each measurement of the held-out file."""
    run, held_out = inverse
    generate(run, seed=7, out="posterior.h5", conditions_from=held_out, per_condition=8)
    return folder / "posterior.h5"


def content(file):
    with h5py.File(file) as stream:
        return {name: stream[name][:] for name in stream}


def test_the_operator_keeps_its_laws():
    x, y = (torch.randn(3, size, dtype=torch.complex64) for size in (SITES, len(OPERATOR.measured)))
    check_operator(OPERATOR, x, y)


def test_a_measurement_is_kept_once_for_its_samples(inverse, posterior):
    _, held_out = inverse
    found, given = content(posterior), content(held_out)
    np.testing.assert_array_equal(found["kspace"], given["kspace"])
    np.testing.assert_array_equal(found["source_row"], np.arange(200).repeat(8))
    assert len(np.unique(found["x"][:, 0])) == 1600


def test_samples_are_judged_row_by_row(inverse, posterior, folder):
    _, held_out = inverse
    found = validate("fourier", reference=held_out, generated=posterior, out="v", track=False).evaluation.estimates
    nmse, coverage = found["nmse"], found["coverage"]
    assert (nmse.against, nmse.baseline, nmse.n) == ("baseline", "zero filling", 200)
    assert nmse.value < nmse.floor / 3
    assert nmse.significance() < -10
    assert nmse.difference_stderr < nmse.floor_stderr  # paired: signals that are hard for one are for the other
    assert abs(coverage.significance()) < 3
    part = {"reference": DataSide(held_out, "50:150"), "generated": DataSide(posterior, "400:800")}
    assert validate("fourier", out="w", track=False, **part).evaluation.estimates["nmse"].n == 50
    for rows, found in ((":100", "0 to 99"), ("100:", "100 to 199")):
        with pytest.raises(DataError, match=f"belong to rows 0 to 199, the reference has rows {found}; choose rows"):
            validate("fourier", out="w", track=False, reference=DataSide(held_out, rows), generated=posterior)


def test_a_posterior_that_is_too_narrow_is_told_by_its_coverage(inverse, posterior, folder):
    _, held_out = inverse
    with h5py.File(posterior, "a") as stream:
        x = stream["x"][:].reshape(200, 8, SITES)
        stream["x"][:] = (x.mean(1, keepdims=True) + 0.7 * (x - x.mean(1, keepdims=True))).reshape(1600, SITES)
    found = validate("fourier", reference=held_out, generated=posterior, out="v", track=False).evaluation
    assert found.estimates["coverage"].significance() > 10
    assert found.verdict.startswith("distinguishable by coverage")


def test_another_reference_is_refused(inverse, posterior, folder):
    simulate("fourier", n=200, seed=3, out="other.h5")
    with pytest.raises(ConfigError, match=r"belong to the rows of a file with SHA-256 \w{12}, but that of other.h5"):
        validate("fourier", reference="other.h5", generated=posterior, out="v", track=False)
    generate(inverse[0], n=200, seed=7, out="flat.h5", conditions_from="other.h5")
    with h5py.File("flat.h5", "a") as stream:
        del stream["source_row"]
    with pytest.raises(DataError, match="do not say which rows of the reference they belong to"):
        validate("fourier", reference="other.h5", generated="flat.h5", out="v", track=False)
    assert not (folder / "v" / "metrics.json").exists()


def test_the_report_says_how_to_draw_them_again(inverse, folder, maquette):
    run, held_out = inverse
    shutil.copytree(run, "run")
    generate("run", seed=7, out="some.h5", conditions_from=DataSide(held_out, "20:60"), per_condition=3)
    validate("fourier", reference=held_out, generated="some.h5", run="run", out="v", track=False)
    text = html.unescape((folder / "v" / "report.html").read_text())
    words = shlex.split(re.search(r"^maquette (generate .*)$", text, re.MULTILINE)[1])
    assert words[-8:-2] == ["--conditions-from", str(held_out), "--conditions-rows", "20:60", "--per-condition", "3"]
    assert maquette(*words).exit_code == 0
    assert (folder / "some-again.h5").read_bytes() == (folder / "some.h5").read_bytes()


def test_a_stop_among_the_samples_of_a_measurement_leaves_no_trace(inverse, posterior, folder, monkeypatch):
    run, held_out = inverse
    draw, calls = Model.draw, []

    def dies(self, index, *rest):
        calls.append(int(index[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(self, index, *rest)

    words = {"seed": 7, "out": "killed.h5", "conditions_from": held_out, "per_condition": 8, "batch_size": 300}
    monkeypatch.setattr(Model, "draw", dies)
    with pytest.raises(KeyboardInterrupt):
        generate(run, **words)
    generate(run, **words | {"batch_size": 500})  # the rest of its second batch, and the third one
    assert calls == [0, 300, 600, 500, 1000, 1500]
    one, other = content("killed.h5"), content(posterior)
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_a_verb_that_was_stopped_goes_on_as_it_began(inverse, folder, monkeypatch):
    run, held_out = inverse
    draw, calls = Model.draw, []

    def dies(self, index, *rest):
        calls.append(len(index))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(self, index, *rest)

    words = {"data": held_out, "out": "killed.h5", "seed": 7}
    monkeypatch.setattr(Model, "at_once", lambda *_: 64)
    verb("fourier", "reconstruct", run, **words | {"out": "whole.h5"})
    monkeypatch.setattr(Model, "draw", dies)
    with pytest.raises(KeyboardInterrupt):
        verb("fourier", "reconstruct", run, **words)
    assert calls == [512, 512, 512]
    with pytest.raises(DataError, match="begun by another command"):
        verb("fourier", "reconstruct", run, overrides=["samples=4"], **words)
    verb("fourier", "reconstruct", run, **words)
    assert (folder / "killed.h5").read_bytes() == (folder / "whole.h5").read_bytes()


def test_the_domains_verb_reconstructs(inverse, posterior, folder, maquette):
    run, held_out = inverse
    words = ["fourier", "reconstruct", run, "--data", held_out, "--data-rows", "10:60", "--seed", 7]
    result = maquette(*words, "--out", "means.h5")
    assert result.exit_code == 0, result.output
    assert "signals  50" in result.stdout
    found = content("means.h5")
    assert set(found) == {"x", "std"}
    error = np.abs(found["x"] - content(held_out)["x"][10:60]) ** 2
    assert error.mean() == pytest.approx((found["std"] ** 2).mean() * 9 / 7, rel=0.3)
    verb("fourier", "reconstruct", run, data=held_out, out="all.h5", seed=7)
    np.testing.assert_allclose(
        content("all.h5")["x"], content(posterior)["x"].reshape(200, 8, SITES).mean(1), atol=1e-5
    )
    result = maquette(*words, "sampler.steps=5", "--out", "none.h5")
    assert result.exit_code == 2
    assert "sampler.steps: there is no such option of sampling" in result.stderr
    result = maquette(*words, "--precision", "half", "--out", "none.h5")
    assert result.exit_code == 2
    result = maquette(*words[:3], "--out", "none.h5")
    assert result.exit_code == 2
    assert "--data: reconstruct works on a data file; name one." in result.stderr
