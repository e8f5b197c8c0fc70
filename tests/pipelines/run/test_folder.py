"""Names of runs, and what is a run."""

import pytest
from maquette.core.errors import ArtifactError, ConfigError
from maquette.pipelines.run.folder import enclosing_runs, existing_run, new_run


@pytest.mark.parametrize(
    "name", ["../x", "runs/../../x", "runs/..", "-x", ".hidden", "a\nb", "a b", "x" * 101, "a:b", ""]
)
def test_names_that_leave_their_folder_or_break_things(name):
    with pytest.raises(ConfigError):
        new_run(name)


@pytest.mark.parametrize("name", ["x", "runs/x", "runs/2024-05-01_lr=3e-4", "/tmp/somewhere/x"])
def test_good_names(name):
    assert str(new_run(name).folder) == name


def test_a_folder_with_other_files_is_no_run(folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").touch()
    with pytest.raises(ConfigError, match="holds other files"):
        new_run("photos")
    with pytest.raises(ArtifactError, match="a folder without them"):
        existing_run("photos")


def test_a_file_is_no_run(folder):
    (folder / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ConfigError, match="there is a file of this name"):
        new_run("model.pt")
    with pytest.raises(ArtifactError, match="never unpickled"):
        existing_run("model.pt")


def test_the_run_around_a_folder(folder):
    run = folder / "run"
    (run / "validation").mkdir(parents=True)
    assert list(enclosing_runs(run / "validation")) == []
    (run / "config.yaml").touch()
    (run / "run.json").touch()
    assert [found.folder for found in enclosing_runs(folder / "elsewhere", run / "validation")] == [run]
