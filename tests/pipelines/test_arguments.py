"""Seeds, devices and rows as users write them."""

import pytest
from maquette.core.errors import ConfigError
from maquette.pipelines.arguments import DataSide, parse_rows, resolve_device


@pytest.mark.parametrize("name", ["meta", "mps", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "gpu", "", "cuda:01"])
def test_what_is_no_device_here_is_refused(name):
    with pytest.raises(ConfigError, match="is not a device; expected auto, cpu, cuda or cuda:NUMBER"):
        resolve_device(name)


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_device("cpu").type == resolve_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="cuda:1: PyTorch sees 0 GPUs here"):
        resolve_device("cuda:1")


def test_rows():
    assert parse_rows("2:5") == slice(2, 5)
    assert parse_rows("-4000:") == slice(-4000, None)
    for bad in ("5", "a:b", "1:2:3", "-:3", ""):
        with pytest.raises(ConfigError, match="START:STOP"):
            parse_rows(bad)


def test_a_side_is_a_file_or_some_of_its_rows(tmp_path):
    assert DataSide.of("x.h5") == DataSide("x.h5")
    assert DataSide.of(DataSide(tmp_path, "0:5")) == DataSide(tmp_path, "0:5")
    assert DataSide("x.h5").path.name == "x.h5"
    with pytest.raises(ConfigError, match="START:STOP"):
        DataSide("x.h5", rows="5")
