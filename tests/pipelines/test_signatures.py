"""Each verb has one signature: on the command line, as a Python function, and on the page of verbs."""

import inspect
import re
from pathlib import Path

import maquette
import pytest
import typer
from maquette.pipelines.cli import app

VERBS = ["demo", "simulate", "fit", "generate", "validate", "report", "export"]

RENAMED = {
    ("simulate", "assignments"): "overrides",
    ("fit", "assignments"): "overrides",
    ("fit", "tag"): "tags",
    ("validate", "option"): "options",
    ("validate", "no_tracking"): "track",
}
"""Parameters of the command line that are called otherwise in Python."""

WITHIN = {
    ("fit", "option"): "overrides",
    ("fit", "no_tracking"): "overrides",
    ("generate", "conditions_rows"): "conditions_from",
    ("validate", "reference_rows"): "reference",
    ("validate", "generated_rows"): "generated",
    ("validate", "training_rows"): "training",
}
"""Parameters of the command line that are part of another one in Python (KEY=VALUE words, or a DataSide)."""

WORDS = {"generate": ("sampler",)}
"""Parameters in Python whose words stand among those of another one on the command line."""

OBJECTS = {"screen", "listeners"}
"""Parameters in Python whose values no command line can write."""


def command(verb):
    return typer.main.get_command(app).commands[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_the_command_line_and_the_function_take_the_same(verb):
    function = inspect.signature(getattr(maquette, verb)).parameters
    taken = set()
    for parameter in command(verb).params:
        whole = WITHIN.get((verb, parameter.name))
        name = whole or RENAMED.get((verb, parameter.name), parameter.name)
        assert name in function, f"{verb}: the function has no {name}"
        taken.add(name)
        default = function[name].default
        if whole or parameter.name == "no_tracking":
            continue
        assert parameter.required == (default is inspect.Parameter.empty), f"{verb}: {name}"
        if not parameter.required and parameter.name != "assignments":
            assert str(parameter.default) == str(default), f"{verb}: {name}"
    assert set(function) - taken <= {*OBJECTS, *WORDS.get(verb, ())}


@pytest.mark.parametrize("verb", VERBS)
def test_the_docstring_explains_every_argument(verb):
    function = getattr(maquette, verb)
    explained = re.findall(
        r"^ {8}(\w+): ", inspect.getdoc(function) and function.__doc__.split("Args:")[1], re.MULTILINE
    )
    assert [name for name in inspect.signature(function).parameters if name not in explained] == []


def synopses() -> dict[str, str]:
    """The command of every verb, as the page of verbs has it."""
    page = Path(maquette.__file__).parent / "docs" / "verbs.md"
    if not page.is_file():
        pytest.skip("the package is here without its documentation")
    block = page.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    lines = re.sub(r"\n +(?=\S)", " ", block).splitlines()
    return {line.split()[1]: line for line in lines if line.startswith("maquette ")}


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_verbs_has_every_option(verb):
    synopsis = synopses()[verb]
    optional = "".join(re.findall(r"\[[^\]]*\]", synopsis))
    for parameter in command(verb).params:
        if isinstance(parameter, typer.core.TyperArgument):
            word = (parameter.metavar or "").strip("[].").split("=")[0]
            assert word in synopsis, f"{verb}: {word} is missing"
            continue
        (option,) = parameter.opts
        assert re.search(rf"{option}\b(?!-)", synopsis), f"{verb}: {option} is missing"
        assert bool(re.search(rf"{option}\b(?!-)", optional)) != parameter.required, f"{verb}: {option}"
    known = {option for parameter in command(verb).params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", synopsis)) <= known
