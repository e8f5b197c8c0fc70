"""What the pages say is there: their links lead somewhere, their verbs, options and paths are those of the package."""

import re
from pathlib import Path

import pytest
import typer
from maquette.core.families import families
from maquette.domains import domains
from maquette.pipelines.cli import app

VERB = re.compile(r"(?:^|[`\s/])maquette (?!\[)([a-z]+)\b(?![/.])")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _pages(root: Path) -> list[Path]:
    folders = [root, root / "docs", root / "docs" / "gallery", root / "benchmarks"]
    return [page for folder in folders for page in sorted(folder.glob("*.md"))]


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[Path, str]:
    found = {page: page.read_text(encoding="utf-8") for page in _pages(root)}
    assert root / "README.md" in found
    return found


@pytest.fixture(scope="module")
def command() -> typer.core.TyperGroup:
    return typer.main.get_command(app)


def _code(text: str) -> str:
    """Fenced and indented blocks and inline code of a page."""
    fenced = re.findall(r"^```.*?$(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    .*$", text, re.MULTILINE)
    return "\n".join([*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)])


def test_every_benchmark_is_on_its_page(root, pages):
    text = pages[root / "benchmarks" / "README.md"]
    assert [file.name for file in (root / "benchmarks").glob("*.py") if f"]({file.name})" not in text] == []


def test_relative_links_lead_to_files(pages):
    dead = [
        f"{page.name}: {target}"
        for page, text in pages.items()
        for target in LINK.findall(text)
        if not target.startswith(("http://", "https://", "mailto:", "#"))
        and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert dead == []


def test_the_verbs_of_the_pages_are_those_of_the_command_line(pages, command):
    planned = {"study"}  # announced as not there yet
    spoken = {(page.name, verb) for page, text in pages.items() for verb in VERB.findall(_code(text))}
    assert {(page, verb) for page, verb in spoken if verb not in {*command.commands, *planned}} == set()


def test_every_verb_is_on_the_page_of_verbs(root, command):
    spoken = set(VERB.findall(_code((root / "docs" / "verbs.md").read_text(encoding="utf-8"))))
    assert set(command.commands) <= spoken


def test_options_on_maquette_lines_exist(pages, command):
    def options(group) -> set[str]:
        own = {name for parameter in group.params for name in parameter.opts}
        return own.union(*(options(child) for child in getattr(group, "commands", {}).values()))

    known = options(command) | {"--help"}
    lines = [
        (page.name, line)
        for page, text in pages.items()
        for line in _code(text).replace("\\\n", " ").splitlines()
        if VERB.search(line) and not line.strip().startswith(("torchrun", "srun"))
    ]
    assert lines
    unknown = {(page, option) for page, line in lines for option in OPTION.findall(line) if option not in known}
    assert unknown == set()


def test_recipes_and_families_on_the_pages_exist(pages):
    recipes = {name for _, domain in domains.items() for name in domain.recipes()}
    for page, text in pages.items():
        for recipe in re.findall(r"--recipe ([a-z0-9-]+)(?![\w./-])", _code(text)):
            assert recipe in recipes, f"{page.name}: no recipe {recipe}"


def test_paths_named_on_the_architecture_page_exist(root):
    text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:core|data_specs|domains|pipelines|tests|docs|benchmarks)/[\w./-]*)`", text))
    assert len(named) > 10
    assert {path for path in named if not (root / path).exists()} == set()


def test_the_gallery_shows_every_family_that_comes_with_the_package(root):
    text = (root / "docs" / "gallery" / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^!\[([\w-]+)\]", text, re.MULTILINE))
    drawn = {
        name
        for name, config in families.items()
        if config.__module__.startswith("maquette.") and {"real", "levels", "torus"} & set(config.supports)
    }
    assert shown == drawn
    assert all((root / "docs" / "gallery" / f"{name}.png").stat().st_size < 60_000 for name in shown)


def test_the_citation_and_the_licence_are_there(root):
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")
    assert (root / "CITATION.cff").is_file()


@pytest.mark.parametrize("word", ["/work/", "/root/", "/home/", "/opt/"])
def test_no_page_names_a_folder_of_one_machine(pages, word):
    assert [page.name for page, text in pages.items() if word in text] == []
