"""Small files: whole or not at all, and read with a sentence about what is wrong with them."""

from typing import ClassVar, Literal

import pytest
from maquette.core.errors import ArtifactError
from maquette.pipelines.files import Record, read_json, writable, write_json, write_text
from pydantic import Field


class Diary(Record):
    remedy: ClassVar[str] = "write another one"

    schema_version: Literal[3] = Field(default=3, alias="schema")
    pages: int


def test_a_record_is_read_as_it_was_written(folder):
    Diary(pages=7).write(folder / "diary.json")
    assert read_json(folder / "diary.json") == {"schema": 3, "pages": 7}
    assert Diary.read(folder / "diary.json") == Diary(pages=7)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"diary\.json: not readable as JSON"),
        ("[1]", "expected a JSON object, found list"),
        ('{"pages": 7}', "expected schema 3, found None: .* another version of Maquette; write another one"),
        ('{"schema": 2, "pages": 7}', "expected schema 3, found 2"),
        ('{"schema": 3}', r'damaged at the key "pages" \(Field required\); write another one'),
        ('{"schema": 3, "pages": "many"}', 'damaged at the key "pages"'),
    ],
)
def test_a_bad_record_is_a_sentence_with_the_remedy(folder, text, sentence):
    (folder / "diary.json").write_text(text)
    with pytest.raises(ArtifactError, match=sentence):
        Diary.read(folder / "diary.json")


def test_keys_of_a_later_version_are_ignored(folder):
    (folder / "diary.json").write_text('{"schema": 3, "pages": 7, "colour": "red"}')
    assert Diary.read(folder / "diary.json").pages == 7


def test_a_failed_write_leaves_the_old_file_and_nothing_else(folder, monkeypatch):
    write_text(folder / "x.json", "old")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(folder / "x.json", float("nan"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maquette.pipelines.files.sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(folder / "x.json", "new")
    assert [file.name for file in folder.iterdir()] == ["x.json"]
    assert (folder / "x.json").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named(folder):
    (folder / "file").touch()
    with pytest.raises(OSError, match="file/inner") as caught:
        writable(folder / "file" / "inner")
    assert caught.value.filename.endswith("file/inner")
