"""Where a result comes from, and what it needs to run elsewhere."""

import json
import platform
import subprocess

import pytest
import torch
from maquette.pipelines.run import provenance


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9654\nmodel name\t: other\n", "AMD EPYC 9654 CPU, 1 thread"),
        ("model name\t: Intel(R) Xeon(R) CPU E5-2690 \n", "Intel(R) Xeon(R) CPU E5-2690, 1 thread"),
        ("Features\t: fp asimd\n", "sparc64 CPU, 1 thread"),
        (None, "sparc64 CPU, 1 thread"),
    ],
)
def test_hardware_is_named_as_its_maker_does(cpuinfo, expected, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(provenance, "CPUINFO", file)
    monkeypatch.setattr(provenance, "_answer", lambda *command: None)
    monkeypatch.setattr(platform, "machine", lambda: "sparc64")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert provenance.hardware(torch.device("cpu")) == expected


@pytest.fixture
def repository(folder):
    """A repository around the working folder that is not the package's."""
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-mx"],
    ):
        subprocess.run(["git", *words], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return folder, head


@pytest.fixture
def origin(monkeypatch):
    """Say where pip got the package."""

    def set_origin(**content):
        monkeypatch.setattr(provenance, "_origin", lambda: content)

    return set_origin


GIT = {"url": "https://host/maquette", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}


def test_the_git_state_is_that_of_the_code(repository, origin, monkeypatch):
    folder, head = repository
    assert provenance.git_state() != head  # of the folder a command happens to be started in
    monkeypatch.setattr(provenance, "_ROOT", folder.resolve())
    assert provenance.git_state() == head
    (folder / "x").touch()
    subprocess.run(["git", "add", "x"], check=True)
    assert provenance.git_state() == f"{head}+changes"


def test_an_installed_package_knows_what_it_was_installed_from(repository, origin, monkeypatch):
    folder, _ = repository
    (folder / "site-packages").mkdir()
    monkeypatch.setattr(provenance, "_ROOT", (folder / "site-packages").resolve())  # in someone's repository
    origin()
    assert provenance.git_state() is None
    origin(**GIT)
    assert provenance.git_state() == "c0ffee"


@pytest.mark.parametrize(
    ("content", "address"),
    [
        ({}, None),
        ({"url": "file:///home/me/maquette", "dir_info": {"editable": True}}, None),
        ({"url": "file:///tmp/maquette.whl", "archive_info": {}}, None),
        ({"url": "https://host/maquette.whl", "archive_info": {}}, "maquette @ https://host/maquette.whl"),
        (GIT, "maquette @ git+https://host/maquette@c0ffee"),
    ],
)
def test_the_package_is_required_by_its_address_or_not_at_all(origin, content, address):
    origin(**content)
    assert [one for one in provenance.requirements() if one.startswith("maquette")] == ([address] if address else [])


def test_what_pip_wrote_down_is_read(monkeypatch):
    class Installed:
        def __init__(self, text):
            self.text = text

        def read_text(self, name):
            return self.text if name == "direct_url.json" else None

    for text, expected in ((json.dumps(GIT), GIT), (None, {}), ("{", {})):
        monkeypatch.setattr(provenance, "distribution", lambda _, text=text: Installed(text))
        assert provenance._origin() == expected
