"""Command lines that do again what a run and its evaluation were made by, from what they and the data files say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .paths import MODEL, Run

GENERATED = "maquette generate"
"""What the attribute `made_by` of a file says that `generate` wrote."""
FROM_LAW = "drawn from the law seen in training"
FROM_ROWS = "rows of a file with SHA-256 "
"""What its attribute `conditions` says, or begins with; else it holds NAME=VALUE, NAME=VALUE."""


def commands(evaluation: Mapping[str, Any] | None, record: Mapping[str, Any] | None, owner: Run | None) -> list[str]:
    """The lines for fit, generate and validate, as far as each can be told.

    Args:
        evaluation: content of `evaluation.json`.
        record: content of the run's `run.json`.
        owner: the run.
    """
    lines = []
    if record and owner:
        words = ["fit", record["domain"], "--data", record["data"]["file"], "--out", f"{owner.folder}-again"]
        lines.append(shlex.join(["maquette", *words, "--recipe", str(owner.config)]))
    if evaluation:
        lines += [_generate(evaluation, owner)] if owner and _made_by(evaluation) else []
        lines.append(_validate(evaluation))
    return lines


def sides(evaluation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The data an evaluation was made of, by the word that names it on the command line."""
    inputs = evaluation["inputs"]
    return [(side, inputs[side]) for side in ("reference", "generated", "training") if side in inputs]


def hashed_rows(side: str, one: Mapping[str, Any]) -> str:
    """Of which rows of a side's file the SHA-256 is: training data are known by all that their file holds."""
    return "all rows" if side == "training" or one["rows"] == "all" else f"rows {one['rows']}"


def _made_by(evaluation: Mapping[str, Any]) -> bool:
    """Whether the model of the evaluation wrote the generated file."""
    origin = evaluation["inputs"]["generated"].get("origin", {})
    return origin.get("made_by") == GENERATED and origin.get(MODEL) == evaluation.get(MODEL)


def _generate(evaluation: Mapping[str, Any], owner: Run) -> str:
    one = evaluation["inputs"]["generated"]
    file, origin = Path(one["file"]), one["origin"]
    words = ["generate", str(owner.folder), "--n", str(one["file_rows"]), "--seed", str(origin["seed"])]
    words += [*_conditions(origin["conditions"], evaluation), "--out", str(file.with_stem(f"{file.stem}-again"))]
    return shlex.join(["maquette", *words])


def _conditions(told: str, evaluation: Mapping[str, Any]) -> Iterator[str]:
    """The words that ask for the conditions of a generated file."""
    if told == FROM_LAW:
        return
    if not told.startswith(FROM_ROWS):
        yield from (f"condition.{pair}" for pair in re.split(r", (?=\w+=)", told))
        return
    sha256 = told.removeprefix(FROM_ROWS)
    for side, one in sides(evaluation):
        if one["sha256"] == sha256:
            rows = hashed_rows(side, one)
            yield from ("--conditions-from", one["file"])
            yield from () if rows == "all rows" else ("--conditions-rows", one["rows"])
            return
    yield from ("--conditions-from", f"FILE_OF_SHA256_{sha256[:12]}")


def _validate(evaluation: Mapping[str, Any]) -> str:
    words, inputs = ["validate", evaluation["domain"]], evaluation["inputs"]
    for side, one in sides(evaluation):
        words += [f"--{side}", one["file"]]
        words += [] if one["rows"] == "all" else [f"--{side}-rows", one["rows"]]
    for name, value in inputs.get("options", {}).items():
        words += [f"--{name}", str(value)]
    words += ["--effort", inputs["effort"], "--seed", str(inputs["seed"]), "--out", "validation-again"]
    return shlex.join(["maquette", *words])
