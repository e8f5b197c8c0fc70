"""The command lines in a report make the same files again."""

import html
import json
import re
import shlex
import shutil

import pytest
from maquette.pipelines.arguments import DataSide
from maquette.pipelines.generate import generate
from maquette.pipelines.validate import validate


def _lines(folder) -> list[list[str]]:
    """The command lines of a report, as words."""
    text = html.unescape(re.search(r"How to reproduce</h2>\s*<pre>(.*?)</pre>", folder.read_text(), re.DOTALL)[1])
    return [shlex.split(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", ["training", "rows", "each", "words"])
def test_the_lines_to_reproduce_make_the_same_file_again(how, maquette, data, fitted, folder):
    shutil.copytree(fitted, folder / "run")
    words = {
        "training": {"n": 50},
        "rows": {"conditions_from": DataSide(data, "800:850")},
        "each": {"conditions_from": DataSide(data, "800:850"), "per_condition": 3, "n": 70},
        "words": {"n": 50, "conditions": {"angle": "0.5"}},
    }
    generate(folder / "run", seed=4, out="gen.h5", **words[how])
    sides = {"reference": DataSide(data, "800:850"), "generated": DataSide("gen.h5", "10:50")}
    validate("toy", out="v", run="run", options={"surface": "flat"}, track=False, **sides)
    fitting, generating, validating = _lines(folder / "v" / "report.html")
    assert fitting[:3] == ["maquette", "fit", "toy"]
    assert generating[:3] == ["maquette", "generate", "run"]
    assert maquette(*generating[1:]).exit_code == 0
    assert (folder / "gen-again.h5").read_bytes() == (folder / "gen.h5").read_bytes()
    assert " ".join(validating).count("--option surface=flat") == 1
    assert maquette(*validating[1:], "--no-tracking").exit_code == 0
    before, after = (json.loads((folder / one / "metrics.json").read_text()) for one in ("v", "validation-again"))
    assert before == after


def test_a_file_of_others_has_no_line_that_generates_it(data, fitted, broken, folder):
    validate("toy", out="v", reference=data, generated=broken, run=fitted, track=False)
    assert [line[1] for line in _lines(folder / "v" / "report.html")] == ["fit", "validate"]
