"""One self-contained HTML page about a run and its evaluation.

The page is a function of files alone (`config.yaml`, `run.json`, `losses.jsonl`, `evaluation.json`, PNG figures), so
that it can be built again at any time. Everything in them is escaped.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..console.numbers import duration, number, sigmas, with_error
from ..files import write_text
from ..run.folder import Run
from ..run.loss_curves import LOSSES
from ..run.record import RunRecord, Session, read_record
from .evaluation import EvaluationRecord, hashed_rows, headings, read_evaluation
from .latency import latency_sentence
from .reproduce import commands

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PICTURE = 32 * 2**20
_ARROWS = {"lower": "↓ lower", "higher": "↑ higher"}
_NEAR = {"halves": "floor", "baseline": "baseline", "nominal": "nominal", "nothing": "–"}


def write_page(page: Path, evaluated: Path | None, source_run: Run | None) -> None:
    """Write the report.

    Args:
        page: the HTML file.
        evaluated: folder of the evaluation, if there is one.
        source_run: the run of the model, if it is known.

    Raises:
        ArtifactError: a damaged run or evaluation.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from maquette.domains import domains
    >>> from maquette.pipelines.run.config import resolve
    >>> from maquette.pipelines.run.record import DataRecord, RunRecorder
    >>> with TemporaryDirectory() as folder:
    ...     run, config = Run(Path(folder)), resolve(domains.get("calorimeter"), "smoke")
    ...     data = DataRecord(file="showers.h5", sha256="ab12", rows=100, training_rows=80)
    ...     RunRecorder(run, config, data, parameters=10, world_size=1, device=torch.device("cpu")).begin()
    ...     write_page(run.report, None, run)
    ...     "80 of 100 rows" in run.report.read_text()
    True
    """
    evaluation = read_evaluation(evaluated) if evaluated else None
    record = read_record(source_run) if source_run else None
    content = {
        "title": source_run.folder.resolve().name if source_run else page.parent.resolve().name,
        "domain": evaluation.domain if evaluation else record.domain if record else "",
        "evaluation": evaluation,
        "figures": _figures(evaluated, evaluation) if evaluated and evaluation else [],
        "headings": headings(evaluation.estimates.values()) if evaluation else (),
        "kinds": {one.against for one in evaluation.estimates.values()} if evaluation else set(),
        "losses": _data_url(source_run.figures / LOSSES) if source_run else None,
        "config": source_run.config.read_text(encoding="utf-8") if source_run else None,
        "facts": _facts(evaluation, record),
        "latency": latency_sentence(record.latency) if record and record.latency else None,
        "provenance": _provenance(evaluation, record),
        "commands": commands(evaluation, record, source_run),
    }
    write_text(page, _environment().get_template("report.html.j2").render(content))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(with_error=with_error, number=number, breakable=_breakable)
    environment.filters["sigmas"] = lambda estimate: sigmas(estimate.significance, estimate.passes)
    environment.filters["arrow"] = lambda one: _ARROWS.get(one.better, f"→ {_NEAR[one.against]}")
    return environment


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _figures(folder: Path, evaluation: EvaluationRecord) -> list[dict[str, Any]]:
    return [
        {"caption": figure.caption, "image": image}
        for figure in evaluation.figures
        if (image := _data_url(folder / "figures" / Path(figure.file).name))
    ]


def _data_url(file: Path) -> Markup | None:
    """A PNG as a data URL; None if there is no such file, or it is no PNG: a report shows nothing of other files."""
    if not file.is_file() or file.is_symlink() or file.stat().st_size > _LARGEST_PICTURE:
        return None
    content = file.read_bytes()
    if not content.startswith(_PNG):
        return None
    return Markup("data:image/png;base64,") + base64.b64encode(content).decode()


def _facts(evaluation: EvaluationRecord | None, record: RunRecord | None) -> list[tuple[str, str]]:
    """The few figures below the verdict."""
    facts = []
    if evaluation:
        facts += [("reference samples", f"{evaluation.inputs.reference.n:,}")]
        facts += [("generated samples", f"{evaluation.inputs.generated.n:,}")]
    if record:
        facts += [("parameters", f"{record.parameters:,}"), ("fitting", duration(record.wall_seconds))]
        facts += [("fitted on", record.hardware)]
    return facts


def _provenance(evaluation: EvaluationRecord | None, record: RunRecord | None) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if record:
        rows += [
            ("fit status", record.status),
            ("fitted", f"{record.started} to {record.finished or 'now'}, sessions: {record.sessions}"),
        ]
        for data in record.sources:
            what = f"training data {data.name}".rstrip()
            rows += [(what, f"{data.file}, {data.training_rows:,} of {data.rows:,} rows")]
            rows += [(f"{what} SHA-256 of content (all rows)", data.sha256)]
        rows += [
            *([("tags", ", ".join(f"{name}={value}" for name, value in record.tags.items()))] if record.tags else []),
            ("config hash", record.config_hash),
            ("seed", str(record.seed)),
            ("device", f"{record.hardware} ({record.device}, processes: {record.world_size})"),
            ("git", record.git or "not in a repository"),
            ("packages", ", ".join(f"{name} {version}" for name, version in record.packages.items())),
            ("fit command", record.command),
        ]
        rows += [("resumed", _session(session)) for session in record.resumed]
    if evaluation:
        for name, side in evaluation.inputs.sides():
            rows += [(f"{name} file", f"{side.file}, rows {side.rows}")]
            rows += [(f"{name} SHA-256 of content ({hashed_rows(name, side)})", side.sha256)]
        rows += [
            ("validated", f"{evaluation.provenance.started} on {evaluation.provenance.hardware}"),
            ("effort and seed of validation", f"{evaluation.inputs.effort}, {evaluation.inputs.seed}"),
        ]
    return rows


def _session(session: Session) -> str:
    return f"{session.started}: {session.command} (git {session.git}, on {session.hardware})"
