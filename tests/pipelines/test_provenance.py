"""Where a result comes from, in words."""

import platform

import pytest
import torch
from maquette.pipelines import provenance


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9654\nmodel name\t: other\n", "AMD EPYC 9654 CPU, 1 thread"),
        ("model name\t: Intel(R) Xeon(R) CPU E5-2690 \n", "Intel(R) Xeon(R) CPU E5-2690, 1 thread"),
        ("Features\t: fp asimd\n", "sparc64 CPU, 1 thread"),
        (None, "sparc64 CPU, 1 thread"),
    ],
)
def test_hardware_is_named_as_its_maker_does(told, expected, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(provenance, "CPUINFO", file)
    monkeypatch.setattr(provenance, "_answer", lambda *command: None)
    monkeypatch.setattr(platform, "machine", lambda: "sparc64")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert provenance.hardware(torch.device("cpu")) == expected
