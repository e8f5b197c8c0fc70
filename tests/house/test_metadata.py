"""What pyproject.toml promises: the dependencies are those that are imported, the extras those that messages name."""

import ast
import re
import shlex
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from maquette import __version__
from maquette.pipelines.console.errors import error_sentence, exit_code
from maquette.pipelines.console.extras import EXTRAS, install_line, install_line_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOMS = ("core", "data_specs", "domains", "pipelines")
PROMISED = {"molecules", "cosmology", "mri", "microstructure", "cluster", "all", "test"}


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def _imported(root: Path) -> set[str]:
    """Top-level names of all absolute imports in the package, also of those that run late."""
    found: set[str] = set()
    for file in [
        root / "__init__.py",
        root / "__main__.py",
        *(f for room in ROOMS for f in (root / room).rglob("*.py")),
    ]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_every_dependency_is_imported_and_every_import_is_a_dependency(root, project):
    declared = _names(project["project"]["dependencies"])
    optional = {module for modules in EXTRAS.values() for module in modules}
    foreign = _imported(root) - set(sys.stdlib_module_names) - optional - {"maquette", "pytest"}
    owners = packages_distributions()
    used = {module: {canonicalize_name(name) for name in owners.get(module, [module])} for module in foreign}
    assert {module: names for module, names in used.items() if not names & declared} == {}
    assert declared - set().union(*used.values()) == set()


def test_the_extras_are_those_of_the_table(project):
    extras = project["project"]["optional-dependencies"]
    assert set(extras) >= PROMISED
    assert set(EXTRAS) == set(extras) - {"all", "test", "dev"}
    for extra, modules in EXTRAS.items():
        assert _names(extras[extra]) == {canonicalize_name(module) for module in modules}
    (everything,) = extras["all"]
    assert Requirement(everything).extras == set(EXTRAS)


@pytest.mark.parametrize(("module", "extra"), [(m, extra) for extra, modules in EXTRAS.items() for m in modules])
def test_a_missing_extra_is_answered_with_the_line_that_installs_it(module, extra):
    sentence = error_sentence(ModuleNotFoundError(f"No module named '{module}.part'", name=f"{module}.part"))
    assert sentence.endswith(f"install it by: {install_line(extra)}")
    assert exit_code(ModuleNotFoundError(name=module)) == 1


def test_a_module_that_no_extra_brings_is_named_as_it_is():
    assert install_line_of("no_such_module") is None
    sentence = error_sentence(ModuleNotFoundError("No module named 'no_such_module'", name="no_such_module"))
    assert "no_such_module" in sentence
    assert "pip install" not in sentence


def test_the_lines_name_extras_that_exist(root, project):
    extras = set(project["project"]["optional-dependencies"])
    pages = [root / "README.md", root / "CONTRIBUTING.md", root / "ARCHITECTURE.md", *(root / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.is_file())
    assert set(re.findall(r"\[(\w+)\]\"", text)) <= extras
    assert "maquette[" not in text  # on an index that may be someone else's package


def test_a_line_names_what_the_installed_package_states(monkeypatch):
    stated = [
        "torch>=2.8",
        'sigpy>=0.1; extra == "mri"',
        "nibabel>=5 ; extra == 'mri'",
        'maquette[mri]; extra == "all"',
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: stated)
    assert shlex.split(install_line("mri")) == [sys.executable, "-m", "pip", "install", "sigpy>=0.1", "nibabel>=5"]
    assert shlex.split(install_line("molecules"))[-3:] == ["rdkit", "torch_geometric", "selfies"]


def test_versions_agree(root, project):
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["project"]["version"] == citation["version"] == __version__
    assert project["project"]["license"] == citation["license"] == "Apache-2.0"
    assert set(citation) >= {"cff-version", "message", "title", "authors", "type"}
