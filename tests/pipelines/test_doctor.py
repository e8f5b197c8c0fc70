"""What `doctor` finds, and the line that installs what is missing."""

import sys

from maquette.pipelines.console.extras import install_line


def test_doctor_gives_the_exact_line_for_what_is_missing(maquette, monkeypatch):
    from maquette.pipelines import doctor

    def unreachable(experiment: str) -> None:
        raise ConnectionError("the store sleeps")

    monkeypatch.setattr(doctor, "connect", unreachable)
    monkeypatch.setattr(doctor, "EXTRAS", {"molecules": ("no_such_module",), "present": ("json",)})
    result = maquette("doctor")
    assert result.exit_code == 0
    assert install_line("molecules") in result.stdout
    assert "the store sleeps" in result.stdout
    assert "set MLFLOW_TRACKING_URI" in result.stdout


def test_doctor_tells_the_memory_of_a_node(monkeypatch):
    from types import SimpleNamespace

    from maquette.pipelines import doctor
    from maquette.pipelines.console.extras import install_line

    memory = SimpleNamespace(total=64 * 2**30, available=10.5 * 2**30)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: memory))
    assert doctor._memory()[:3] == ("memory", "10.5 of 64.0 GiB free", "")
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if it were not installed
    assert doctor._memory()[:3] == ("memory", "not known without psutil", install_line("cluster"))
    assert "memory" in {check.what for check in doctor._machine()}
