"""Whoever fits many models follows each fit, ends the hopeless ones and finds them again by their tags."""

import json

import pytest
import torch
from maquette import load
from maquette.core.errors import ConfigError, Interrupted
from maquette.pipelines.fit import fit

WORDS = ["data.validation=100", "tracking=none"]


class Ending:
    """Ends a fit at a step, if given one."""

    def __init__(self, step=None):
        self.step, self.heard = step, []

    def stage(self, name, steps):
        self.heard.append((name, steps))

    def row(self, row):
        self.heard.append(row["step"])
        return row["step"] == self.step

    def checkpoint(self, step):
        self.heard.append(f"saved {step}")


def test_a_listener_ends_a_fit_which_goes_on_later_with_its_tags(fitted, data, folder):
    ending = Ending(step=25)
    with pytest.raises(Interrupted, match=r"A listener ended the fit after step 26 .* --resume"):
        fit("toy", data=data, out="run", overrides=WORDS, listeners=[ending], tags={"study": "widths", "trial": "6"})
    assert ending.heard == [("line", 60), 5, 10, 15, 20, 20, "saved 20", 25, "saved 26"]
    fit("toy", data=data, out="run", resume=True, listeners=[after := Ending()], tags={"trial": "7"})
    assert after.heard[:2] == [("line", 60), 30]
    record = json.loads((folder / "run" / "run.json").read_text())
    assert record["tags"] == {"study": "widths", "trial": "7"}
    assert "study=widths, trial=7" in (folder / "run" / "report.html").read_text()
    ours, theirs = (load(run).generator.state_dict() for run in (folder / "run", fitted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"maquette.seed": "7"}, "does not begin with maquette."),
        ({"a\nb": "7"}, "begins with a letter"),
        ({"trial": 7}, "expected a text of at most 5000 characters, found 7"),
    ],
)
def test_tags_that_would_not_stand_in_mlflow_are_refused_first(data, folder, tags, said):
    with pytest.raises(ConfigError, match=said):
        fit("toy", data=data, out="run", overrides=WORDS, tags=tags)
    assert list(folder.iterdir()) == []


def test_tags_on_the_command_line(maquette, data, folder):
    words = ["fit", "toy", "--data", data, "--out", "run", "--no-tracking", "training.steps=2"]
    assert maquette(*words, "--tag", "study=a=b", "--tag", "trial=1").exit_code == 0
    assert json.loads((folder / "run" / "run.json").read_text())["tags"] == {"study": "a=b", "trial": "1"}
    for tags in (["--tag", "study"], ["--tag", "a=1", "--tag", "a=2"]):
        result = maquette(*words, *tags)
        assert result.exit_code == 2
        assert "tags are written NAME=VALUE, each name once" in result.stderr
