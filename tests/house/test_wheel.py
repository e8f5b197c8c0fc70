"""The wheel: it holds every module and every file that the package reads, and all its modules can be imported."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOMS = ("core", "data_specs", "domains", "pipelines")


def _folders(root: Path) -> dict[str, Path]:
    """Packages by their names: every folder below the rooms that holds a module."""
    found = {"maquette": root}
    for room in ROOMS:
        for file in (root / room).rglob("*.py"):
            found[".".join(["maquette", *file.parent.relative_to(root).parts])] = file.parent
    return found


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what a clone holds."""
    if not (root / "pyproject.toml").is_file():
        pytest.skip("the tests run without the repository around them")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for room in ROOMS:
        shutil.copytree(root / room, copy / room, ignore=leave)
    for name in ("__init__.py", "__main__.py", "_version.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*build, "--wheel-dir", str(out), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("maquette-*.whl")
    return file


def test_the_listed_packages_are_the_folders_that_exist(root, project):
    listed = project["tool"]["setuptools"]["packages"]
    assert listed == sorted(listed)
    assert listed == sorted(_folders(root))


def test_every_package_has_an_init_file(root):
    assert [name for name, folder in _folders(root).items() if not (folder / "__init__.py").is_file()] == []


def test_the_wheel_holds_all_files_of_the_package_and_nothing_else(root, wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"maquette/{name}" for name in ("__init__.py", "__main__.py", "_version.py")}
    for room in ROOMS:
        for file in (root / room).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                expected.add(f"maquette/{file.relative_to(root).as_posix()}")
    assert names == expected


def test_every_module_can_be_imported_from_the_wheel(wheel, tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True, capture_output=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib, pkgutil, maquette\n"
        "assert maquette.__file__.startswith(sys.argv[1]), maquette.__file__\n"
        "names = [m.name for m in pkgutil.walk_packages(maquette.__path__, 'maquette.')]\n"
        "names = [n for n in names if not n.endswith('__main__')]\n"
        "assert all(importlib.import_module(n).__file__.startswith(sys.argv[1]) for n in names)\n"
        "from maquette.domains import domains\n"
        "for name, domain in domains.items():\n"
        "    assert domain.recipes() and domain.sample_path().is_file(), name\n"
        "print(len(names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    modules = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")]
    assert int(done.stdout) == len(modules) - 2  # the root and __main__
