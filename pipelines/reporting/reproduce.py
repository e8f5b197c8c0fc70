"""Reconstructs the commands that reproduce a run and its evaluation."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...domains.plugin import SOURCE_SHA256
from ..run.config import flatten
from ..run.folder import MODEL_SHA256, Run
from ..run.record import RunRecord
from .evaluation import EvaluationRecord, InputsRecord, hashed_rows

GENERATED = "maquette generate"
"""Attribute `made_by` of the files that `generate` writes."""
CONDITIONS = "conditions"
PER_CONDITION, SOURCE_ROWS = "per_condition", "source_rows"
"""Their attributes about conditions; the last two, and `SOURCE_SHA256`, only where these are rows of a file."""
FROM_TRAINING = "drawn from the distribution seen in training"
WITHOUT = "none"
FROM_ROWS = "rows of a file with SHA-256 "
"""The attribute `conditions` is or begins with one of these; else it is NAME=VALUE, NAME=VALUE."""


def commands(evaluation: EvaluationRecord | None, record: RunRecord | None, source_run: Run | None) -> list[str]:
    """The command lines of fit, generate and validate, as far as they are known.

    Args:
        evaluation: of the generated data.
        record: of the run that generated them.
        source_run: that run.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from maquette.domains import domains
    >>> from maquette.pipelines.run.config import resolve
    >>> from maquette.pipelines.run.record import DataRecord, RunRecorder
    >>> run, config = Run(Path("runs/a")), resolve(domains.get("calorimeter"), "smoke")
    >>> data = DataRecord(file="showers.h5", sha256="ab12", rows=100, training_rows=80)
    >>> recorder = RunRecorder(run, config, data, parameters=10, world_size=1, device=torch.device("cpu"))
    >>> commands(None, recorder.record, run)
    ['maquette fit calorimeter --data showers.h5 --out runs/a-again --recipe runs/a/config.yaml']
    """
    lines = []
    if record and source_run:
        words = ["fit", record.domain]
        for data in record.sources:
            words += ["--data", f"{data.name}={data.file}" if data.name else data.file]
        words += ["--out", f"{source_run.folder}-again", "--recipe", str(source_run.config)]
        lines.append(_line(*words))
    if evaluation:
        if source_run and _generated_by_its_model(evaluation):
            lines.append(_generate(evaluation.inputs, source_run))
        lines.append(_validate(evaluation))
    return lines


def _line(*words: str) -> str:
    return shlex.join(["maquette", *words])


def _generated_by_its_model(evaluation: EvaluationRecord) -> bool:
    origin = evaluation.inputs.generated.origin
    return origin.get("made_by") == GENERATED and origin.get(MODEL_SHA256) == evaluation.model_sha256


def _generate(inputs: InputsRecord, source_run: Run) -> str:
    side = inputs.generated
    file = Path(side.file)
    words = ["generate", str(source_run.folder), "--n", str(side.file_rows), "--seed", str(side.origin["seed"])]
    precision = side.origin.get("precision", "float32")
    words += [] if precision == "float32" else ["--precision", str(precision)]
    words += ["--size", str(side.origin["size"])] if "size" in side.origin else []
    words += str(side.origin["sampler"]).split(", ") if "sampler" in side.origin else []
    words += [*_conditions(side.origin, inputs), "--out", str(file.with_stem(f"{file.stem}-again"))]
    return _line(*words)


def _conditions(origin: Mapping[str, Any], inputs: InputsRecord) -> Iterator[str]:
    """The options of `generate` for the conditions of a file, given its attributes."""
    attribute = str(origin[CONDITIONS])
    if attribute in (FROM_TRAINING, WITHOUT):
        return
    if not attribute.startswith(FROM_ROWS):
        yield from (f"condition.{pair}" for pair in re.split(r", (?=\w+=)", attribute))
        return
    yield from _source(attribute.removeprefix(FROM_ROWS), origin, inputs)
    if (each := str(origin.get(PER_CONDITION, 1))) != "1":
        yield from ("--per-condition", each)


def _source(sha256: str, origin: Mapping[str, Any], inputs: InputsRecord) -> Iterator[str]:
    """The options that name the rows with a digest: those of a side, or rows of the reference's file."""
    for name, side in inputs.sides():
        if side.sha256 == sha256:
            yield from ("--conditions-from", side.file)
            yield from () if hashed_rows(name, side) == "all rows" else ("--conditions-rows", side.rows)
            return
    if inputs.reference.file_sha256 and inputs.reference.file_sha256 == origin.get(SOURCE_SHA256):
        yield from ("--conditions-from", inputs.reference.file, "--conditions-rows", str(origin[SOURCE_ROWS]))
        return
    yield from ("--conditions-from", f"FILE_OF_SHA256_{sha256[:12]}")


def _validate(evaluation: EvaluationRecord) -> str:
    inputs = evaluation.inputs
    words = ["validate", evaluation.domain]
    for name, side in inputs.sides():
        words += [f"--{name}", side.file]
        words += [] if side.rows == "all" else [f"--{name}-rows", side.rows]
    for name, value in flatten(inputs.options).items():
        words += ["--option", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return _line(*words, "--effort", inputs.effort, "--seed", str(inputs.seed), "--out", "validation-again")
