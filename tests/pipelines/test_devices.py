"""Devices by name."""

import pytest
from maquette.core.errors import ConfigError
from maquette.pipelines.devices import resolve_device


@pytest.mark.parametrize("name", ["meta", "mps", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "gpu", "", "cuda:01"])
def test_what_is_no_device_here_is_refused(name):
    with pytest.raises(ConfigError, match="is not a device; expected auto, cpu, cuda or cuda:NUMBER"):
        resolve_device(name)


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_device("cpu").type == resolve_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="cuda:1: PyTorch sees 0 GPUs here"):
        resolve_device("cuda:1")
