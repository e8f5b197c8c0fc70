"""The import rule: pipelines -> domains -> (core, data_specs); inside core and pipelines each part knows only some.

Imports inside functions and under TYPE_CHECKING count like all others.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

MAY_IMPORT = {
    "core": set(),
    "data_specs": set(),
    "domains": {"core", "data_specs"},
    "pipelines": {"core", "data_specs", "domains", "_version"},
    "_version": set(),
    "": {"pipelines", "_version"},
    "__main__": {"pipelines"},
}
"""Rooms that a room may import, beside itself; "" is `__init__.py` at the root."""

FOUNDATIONS = {
    "core.artifact",
    "core.capabilities",
    "core.checksum",
    "core.config",
    "core.constraint",
    "core.context",
    "core.data",
    "core.dtypes",
    "core.errors",
    "core.features",
    "core.graph",
    "core.grids",
    "core.layout",
    "core.marginals",
    "core.memory",
    "core.noise",
    "core.objective",
    "core.operators",
    "core.part",
    "core.philox",
    "core.precision",
    "core.registry",
    "core.spaces",
    "core.supports",
    "core.values",
}
"""The single files of core, which know none of its folders."""

_ENGINE_KNOWS = (
    "artifact",
    "checksum",
    "config",
    "data",
    "dtypes",
    "errors",
    "memory",
    "noise",
    "objective",
    "philox",
    "precision",
)
CORE_MAY_IMPORT = {
    "core.bases": FOUNDATIONS | {"core.nets", "core.samplers"},
    "core.engine": {f"core.{name}" for name in _ENGINE_KNOWS},
    "core.families": FOUNDATIONS | {"core.bases", "core.likelihoods", "core.nets", "core.samplers"},
    "core.inference": FOUNDATIONS | {"core.likelihoods", "core.samplers"},
    "core.likelihoods": {f"core.{name}" for name in ("config", "errors", "registry", "spaces")},
    "core.nets": {f"core.{name}" for name in ("config", "context", "errors", "layout", "noise", "registry", "spaces")},
    "core.samplers": {"core.capabilities", "core.constraint", "core.errors", "core.noise", "core.spaces"},
    "core.statistics": {"core.config", "core.errors"},
    "core.testing": FOUNDATIONS
    | {f"core.{name}" for name in ("bases", "engine", "families", "inference", "likelihoods", "nets", "samplers")},
}
"""Parts of core that a folder of core may import, beside itself."""

VERBS = {
    f"pipelines.{name}"
    for name in ("demo", "doctor", "export", "fit", "generate", "listing", "report", "simulate", "validate", "verb")
}
BELOW_VERBS = {
    f"pipelines.{name}"
    for name in (
        "arguments",
        "console",
        "exporting",
        "files",
        "load",
        "mlflow",
        "options",
        "output",
        "reporting",
        "run",
        "safe_yaml",
        "streaming",
    )
}
PIPELINES_MAY_IMPORT = {
    "pipelines.arguments": set(),
    "pipelines.console": set(),
    "pipelines.files": set(),
    "pipelines.safe_yaml": set(),
    "pipelines.options": {"pipelines.arguments"},
    "pipelines.exporting": {"pipelines.console"},
    "pipelines.streaming": {"pipelines.arguments", "pipelines.console"},
    "pipelines.run": {f"pipelines.{name}" for name in ("arguments", "console", "files", "safe_yaml")},
    "pipelines.load": {"pipelines.arguments", "pipelines.run"},
    "pipelines.mlflow": {f"pipelines.{name}" for name in ("console", "files", "load", "run")},
    "pipelines.reporting": {f"pipelines.{name}" for name in ("console", "files", "load", "run")},
    **dict.fromkeys(VERBS, BELOW_VERBS),
    "pipelines.fit": {*BELOW_VERBS, "pipelines.report"},
    "pipelines.demo": {*BELOW_VERBS, *VERBS},
    "pipelines.output": {f"pipelines.{name}" for name in ("console", "mlflow", "run", "streaming")},
    "pipelines.domain_commands": {*BELOW_VERBS, "pipelines.verb"},
    "pipelines.group": {*BELOW_VERBS, "pipelines.domain_commands"},
    "pipelines.looking": {*BELOW_VERBS, "pipelines.listing"},
    "pipelines.cli": {*BELOW_VERBS, *VERBS, "pipelines.group", "pipelines.looking"},
}
"""Parts of pipelines that a part of pipelines may import, beside itself."""

HEAVY = {"torch", "mlflow", "matplotlib", "h5py", "numpy", "scipy", "sklearn", "zuko", "optuna", "jinja2"}


@dataclass(frozen=True)
class Import:
    """One import statement's target: an absolute module of the package ("core.spaces") or of another ("torch")."""

    target: str
    line: int
    own: bool
    at_start: bool


def _deferred(tree: ast.Module) -> set[int]:
    """Ids of the nodes that do not run when a module is imported: bodies of functions, and `if TYPE_CHECKING`."""
    deferred: set[int] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            deferred |= {id(child) for statement in node.body for child in ast.walk(statement)}
    return deferred


def imports(module: str, source: str, *, package: bool, known: set[str]) -> Iterator[Import]:
    """Every import of a module, relative ones resolved against its position in the package."""
    tree = ast.parse(source)
    deferred = _deferred(tree)
    home = module.split(".") if package and module else module.split(".")[:-1]
    for node in ast.walk(tree):
        at_start = id(node) not in deferred
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, False, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield Import(node.module or "", node.lineno, False, at_start)
        elif isinstance(node, ast.ImportFrom):
            base = [*home[: len(home) - (node.level - 1)], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                yield Import(inner if inner in known else ".".join(base), node.lineno, True, at_start)


@dataclass(frozen=True)
class Code:
    """The package's modules by their dotted names below the root, and what each imports."""

    files: Mapping[str, Path]
    imports: Mapping[str, tuple[Import, ...]]


def _modules(root: Path) -> dict[str, Path]:
    found = {"": root / "__init__.py", "__main__": root / "__main__.py", "_version": root / "_version.py"}
    for room in ("core", "data_specs", "domains", "pipelines"):
        for file in sorted((root / room).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@pytest.fixture(scope="module")
def code(root: Path) -> Code:
    files = _modules(root)
    known = set(files)
    return Code(
        files,
        {
            module: tuple(imports(module, file.read_text(), package=file.name == "__init__.py", known=known))
            for module, file in files.items()
        },
    )


def _room(module: str) -> str:
    return module.split(".")[0]


def _part(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _breaches(code: Code, part_of, allowed: Mapping[str, set[str]]) -> list[str]:
    """Imports from one part to another that are not allowed, as `module:line imports target`."""
    return [
        f"{module or '__init__'}:{one.line} imports {one.target}"
        for module, found in code.imports.items()
        for one in found
        if one.own
        and (here := part_of(module)) in allowed
        and (there := part_of(one.target)) != here
        and there not in allowed[here]
    ]


def test_rooms_import_one_way(code):
    assert _breaches(code, _room, MAY_IMPORT) == []


def test_parts_of_core_import_one_way(code):
    allowed = {**dict.fromkeys(FOUNDATIONS, FOUNDATIONS), **CORE_MAY_IMPORT}
    parts = {_part(module) for module in code.files if module.startswith("core.")}
    assert parts <= set(allowed), "a new part of core must state what it may import"
    assert _breaches(code, _part, allowed) == []


def test_parts_of_pipelines_import_one_way(code):
    parts = {_part(module) for module in code.files if module.startswith("pipelines.")}
    assert parts == set(PIPELINES_MAY_IMPORT), "a new part of pipelines must state what it may import"
    rooms = {"core", "data_specs", "domains", "_version"}
    within = {
        module: tuple(one for one in found if not (one.own and _room(one.target) in rooms))
        for module, found in code.imports.items()
    }
    assert _breaches(Code(code.files, within), _part, PIPELINES_MAY_IMPORT) == []


def _circle(found: Mapping[str, Iterable[Import]]) -> list[str] | None:
    """Modules that import one another, if there are any."""
    graph = {module: {one.target for one in each if one.own} - {module} for module, each in found.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_no_modules_import_one_another(code):
    assert _circle(code.imports) is None


def test_imports_within_the_package_are_relative(code):
    absolute = [
        f"{module}:{one.line}"
        for module, found in code.imports.items()
        for one in found
        if not one.own and one.target.split(".")[0] == "maquette"
    ]
    assert absolute == []


def _domains(root: Path) -> set[str]:
    """Folders of `domains` with a plug-in; the others are rooms that domains share, and know none of them."""
    return {file.parent.name for file in (root / "domains").glob("*/plugin.py")}


def test_core_and_pipelines_name_no_domain(code, root):
    names = _domains(root)
    assert names
    named = [
        f"{module}:{one.line} imports {one.target}"
        for module, found in code.imports.items()
        if _room(module) in ("core", "pipelines")
        for one in found
        if names & set(one.target.split("."))
    ]
    assert named == []


def test_a_domain_does_not_know_another(code, root):
    names = _domains(root)
    crossed = [
        f"{module}:{one.line} imports {one.target}"
        for module, found in code.imports.items()
        if _room(module) == "domains"
        for one in found
        if one.own and (names - {module.split(".")[1:2][0] if "." in module else ""}) & set(one.target.split("."))
    ]
    assert crossed == []


def test_the_command_line_and_the_package_import_nothing_heavy_at_start(code):
    light = ["", "__main__", "_version", "pipelines", "pipelines.arguments", "pipelines.cli", "pipelines.console"]
    light += ["pipelines.console.errors", "pipelines.console.extras", "core.errors", "data_specs.errors"]
    heavy = [
        f"{module or '__init__'}:{one.line} imports {one.target}"
        for module in light
        for one in code.imports[module]
        if one.at_start and one.target.split(".")[0] in HEAVY
    ]
    assert heavy == []


@pytest.mark.parametrize(
    "line",
    [
        "from ..core.families import families",
        "def late():\n    from ..core.families import families",
        "if TYPE_CHECKING:\n    from ..core.families import families",
    ],
)
def test_a_circle_is_seen_wherever_the_import_is(line):
    known = {"core.families", "domains.plugin"}
    (up,) = imports("domains.plugin", line, package=False, known=known)
    (down,) = imports("core.families", "from ...domains import plugin", package=True, known=known)
    assert _circle({"domains.plugin": [up], "core.families": [down]}) is not None
    assert _circle({"domains.plugin": [up], "core.families": []}) is None


@pytest.mark.parametrize(
    ("module", "line", "target"),
    [
        ("core.engine.loop", "from ..families import families", "core.families"),
        ("core.spaces", "from ..domains.calorimeter import codec", "domains.calorimeter.codec"),
        ("data_specs.errors", "def late():\n    from ..core.errors import MaquetteError", "core.errors"),
        ("pipelines.run.record", "def late():\n    from ..mlflow import store", "pipelines.mlflow.store"),
        ("pipelines.load", "from .. import __version__", ""),
    ],
)
def test_the_rule_would_see_a_breach(module, line, target, code):
    (found,) = imports(module, line, package=False, known=set(code.files))
    assert found.target == target
    broken = Code(code.files, {module: (found,)})
    allowed = {**dict.fromkeys(FOUNDATIONS, FOUNDATIONS), **CORE_MAY_IMPORT, **PIPELINES_MAY_IMPORT}
    assert _breaches(broken, _room, MAY_IMPORT) or _breaches(broken, _part, allowed)
