"""`run.json`: it is read as it was written, and a bad one is answered in a sentence."""

import json
import shutil

import pytest
from maquette.core.errors import ArtifactError, ConfigError
from maquette.pipelines.fit import fit
from maquette.pipelines.report import report
from maquette.pipelines.run.folder import Run
from maquette.pipelines.run.record import RunRecord, expect_same_data, read_record


def test_a_record_is_read_as_it_was_written(fitted):
    content = json.loads((fitted / "run.json").read_text())
    record = read_record(Run(fitted))
    assert record is not None
    assert record.model_dump(mode="json", by_alias=True) == content
    assert (record.status, record.domain, record.data.rows, record.sessions) == ("finished", "toy", 900, 1)


def test_every_key_is_described():
    described = {name for name, field in RunRecord.model_fields.items() if field.description}
    assert set(RunRecord.model_fields) - described == {"data"}  # its type says it


def test_a_folder_without_a_record_has_none(folder):
    assert read_record(Run(folder)) is None
    expect_same_data(Run(folder), {"": "any"})


@pytest.fixture
def run(fitted, folder):
    """A copy of the run, which a test may damage."""
    shutil.copytree(fitted, folder / "run")
    return folder / "run"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 1}, "expected schema 2, found 1: it was written by another version of Maquette; fit again"),
        ({"seed": "x"}, 'run.json: damaged at the key "seed" .* fit again in another folder'),
        ({"data": {"file": "x.h5"}}, 'damaged at the key "data.sha256"'),
    ],
)
def test_an_old_or_damaged_record_is_a_sentence(run, data, change, sentence):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(content | change))
    for use in (lambda: report(run), lambda: fit("toy", data=data, out=run, resume=True)):
        with pytest.raises(ArtifactError, match=sentence):
            use()


def test_other_data_are_refused(fitted):
    record = read_record(Run(fitted))
    assert record is not None
    expect_same_data(Run(fitted), {"": record.data.sha256})
    with pytest.raises(ConfigError, match="began with other data"):
        expect_same_data(Run(fitted), {"": "0" * 64})
