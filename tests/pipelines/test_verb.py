"""Verbs that a domain brings: found by its name, with words, errors and help like all others."""

import subprocess
import sys

import pytest
import toy
from maquette.core.errors import ConfigError
from maquette.domains.verbs import Verb
from maquette.pipelines.verb import verb
from pydantic import Field


class Radius(Verb):
    """The mean radius of points.

    This line is not for the command's help.
    """

    needs_data = False

    points: int = Field(default=100, ge=1, description="how many are drawn")

    def perform(self, job):
        import torch

        x = job.draw(torch.arange(self.points), None).x
        job.progress("draw", self.points, self.points)
        return [("radius", f"{x.norm(dim=1).mean():.3f} m")]


@pytest.fixture
def bringing(monkeypatch):
    monkeypatch.setattr(toy.Toy, "verbs", lambda self: {"radius": Radius})


def test_a_verb_of_a_domain_is_a_command_and_a_function(maquette, fitted, folder, bringing):
    result = maquette("toy", "radius", fitted, "--out", "x.txt", "--seed", 3, "points=50")
    assert result.exit_code == 0, result.output
    done = verb("toy", "radius", fitted, out="x.txt", seed=3, overrides=["points=50"])
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("radius ")]
    assert line.split(maxsplit=1) == list(done.results[0])
    from maquette import load

    assert done.results[0][1] == f"{load(fitted).sample(50, seed=3).norm(dim=1).mean():.3f} m"


def test_it_is_listed_and_explained(maquette, bringing):
    assert "radius" in maquette("list", "domains").stdout
    assert "The mean radius of points." in maquette("toy", "--help").stdout
    told = maquette("toy", "radius", "--help").stdout
    assert "points=100  how many are drawn" in told
    assert "--seed" in told
    assert "not for the command's help" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toy", "radius", "RUN", "--out", "x", "pionts=5"], 'Did you mean "points"?'),
        (
            ["toy", "radius", "RUN", "--out", "x", "points=0"],
            "radius.points: Input should be greater than or equal to 1",
        ),
        (["toy", "radius", "nowhere", "--out", "x"], "there is no such run"),
        (["toy", "radius", "RUN", "--out", "x", "--data", "points.h5"], "--data: radius takes no data"),
        (["toy", "radius", "RUN", "--out", "x", "--data-rows", "0:5"], "--data-rows chooses rows of the file"),
        (["toy", "radius", "RUN", "--out", "x", "--device", "tpu"], "is not a device"),
        (["toy", "radios", "RUN", "--out", "x"], "radios"),
        (["cloud", "radius", "RUN", "--out", "x"], 'is a run of the domain "toy", not of "cloud"'),
        (["calorimeter", "radius", "RUN", "--out", "x"], "has no verbs of its own"),
        (["toi", "radius"], "No such command"),
    ],
)
def test_bad_input_is_a_sentence(maquette, fitted, folder, bringing, words, said):
    result = maquette(*[str(fitted) if word == "RUN" else word for word in words])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert list(folder.iterdir()) == []


def test_in_python_an_unknown_verb_is_a_sentence(fitted, bringing):
    with pytest.raises(ConfigError, match=r'has no verb "radios"\. Did you mean "radius"'):
        verb("toy", "radios", fitted, out="x")


def test_the_help_of_all_verbs_imports_no_domain():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom maquette.pipelines.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in sys.modules if name.startswith('maquette.domains')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
