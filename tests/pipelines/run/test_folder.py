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


OWN = ["config.yaml", "run.json", "losses.jsonl", "tracking.json", "report.html", ".lease.json"]


@pytest.mark.parametrize("name", [*OWN, "model", "figures", "checkpoints", "model/config.json", "figures/losses.png"])
def test_links_in_a_strangers_run_are_refused(folder, name):
    run, elsewhere = folder / "run", folder / "elsewhere"
    elsewhere.mkdir()
    run.mkdir()
    (run / "config.yaml").touch()
    link = run / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere / "config.yaml" if "." in name else elsewhere)
    (elsewhere / "config.yaml").touch()
    for open_run in (new_run, existing_run):
        with pytest.raises(ArtifactError, match=f"{link.name}: this is a symbolic link"):
            open_run(run)


def test_a_run_may_be_reached_by_a_link_and_hold_links_of_the_users(folder):
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").touch()
    (folder / "run" / "data.h5").symlink_to("/data/showers.h5")
    (folder / "link").symlink_to(folder / "run")
    assert existing_run(folder / "link").config.is_file()
    assert new_run(folder / "link").config.is_file()


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
