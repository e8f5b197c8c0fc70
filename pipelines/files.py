"""Small files, written whole or not at all: under a temporary name, flushed, renamed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..core.artifact import sync
from ..core.errors import ArtifactError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def writable(folder: Path) -> Path:
    """Make a folder, and try to write there before hours of work; raises `OSError` naming the folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     writable(Path(folder) / "runs" / "a").is_dir()
    True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        error.filename = str(folder)
        raise


def own_files(*paths: Path) -> None:
    """Raise `ArtifactError` if one of the paths is a symbolic link: a stranger's folder may point anywhere with them.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     link = Path(folder) / "report.html"
    ...     link.symlink_to("/etc/passwd")
    ...     own_files(link)
    Traceback (most recent call last):
    maquette.core.errors.ArtifactError: .../report.html: this is a symbolic link, where a file or folder of its own...
    """
    for path in paths:
        if path.is_symlink():
            raise ArtifactError(
                f"{path}: this is a symbolic link, where a file or folder of its own is expected; if you trust what it "
                "points to, put a copy in its place."
            )


def write_text(file: Path, text: str) -> None:
    """Replace a file's content; raises `OSError` and leaves the old content on a full disk."""
    write_bytes(file, text.encode())


def write_png(file: Path, figure: Figure) -> None:
    """Draw a picture into a file; raises `OSError` as `write_text`.

    >>> from matplotlib.figure import Figure
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_png(Path(folder) / "a.png", Figure())
    ...     (Path(folder) / "a.png").read_bytes()[1:4]
    b'PNG'
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_bytes(file, picture.getvalue())


def write_bytes(file: Path, content: bytes) -> None:
    """Replace a file's content, also that of a link, whose target stays as it is; raises `OSError` as `write_text`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "a.bin", bytes(3))
    ...     (Path(folder) / "a.bin").read_bytes()
    b'\\x00\\x00\\x00'
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sync(file.parent)


def write_json(file: Path, value: Any) -> None:
    """Write plain data; raises `ValueError` for NaN, which JSON does not have.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "a.json", {"seed": 7})
    ...     read_json(Path(folder) / "a.json")
    {'seed': 7}
    """
    write_text(file, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Read a mapping; raises `ArtifactError` where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no text, no JSON, endless numbers, endless brackets
        raise ArtifactError(f"{file}: not readable as JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{file}: expected a JSON object, found {type(value).__name__}.")
    return value


class Record(BaseModel):
    """Base of what is stored as a JSON file: frozen; keys that this version does not know are ignored.

    >>> from tempfile import TemporaryDirectory
    >>> class Fit(Record):
    ...     seed: int
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "fit.json"
    ...     Fit(seed=7).write(file)
    ...     Fit.read(file)
    Fit(seed=7)
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    remedy: ClassVar[str] = "make it again"
    """What to do about a file of an older version, or a damaged one; ends a sentence."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file that `write` wrote.

        Raises:
            ArtifactError: not readable, of another schema, or with a key that is missing or of a wrong type.
        """
        content = read_json(file)
        field = cls.model_fields.get("schema_version")
        if field and content.get("schema") != field.default:
            raise ArtifactError(
                f"{file}: expected schema {field.default}, found {content.get('schema')}: "
                f"it was written by another version of Maquette; {cls.remedy}."
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            raise ArtifactError(f'{file}: damaged at the key "{key}" ({fault["msg"]}); {cls.remedy}.') from None

    def write(self, file: Path) -> None:
        """Replace the file; raises `OSError`, or `ValueError` for NaN."""
        write_json(file, self.model_dump(mode="json", by_alias=True))
