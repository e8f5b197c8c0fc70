"""`maquette report`: one self-contained HTML page of what a run and its validation hold.

The page is a function of files alone (`config.yaml`, `run.json`, `losses.jsonl`, `evaluation.json`, PNG figures), so
that it can be built again at any time. Names in them are hostile until escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..core.artifact import weights_digest
from .again import commands, hashed_rows, sides
from .atomic import read_json, write_text
from .figures import save_losses
from .paths import MODEL, Run, existing_run
from .speed import sentence
from .wording import duration, number, sigmas, with_error

EVALUATION = "evaluation.json"
REPORT = "report.html"
_ARROWS = {"lower": "↓ lower", "higher": "↑ higher", "floor": "→ floor"}


def report(run: str | Path) -> Path:
    """Rebuild a run's report from what its folder holds; returns the page.

    Raises:
        ArtifactError: not a run, or a damaged one.
    """
    owner = existing_run(run)
    save_losses(owner)
    evaluated = _evaluated(owner)
    _render(owner.report, evaluated, owner)
    return owner.report


def write_report(folder: Path, owner: Run | None) -> Path:
    """Write the report of an evaluation into its folder, with the run of the model where it is known."""
    _render(folder / REPORT, folder, owner)
    return folder / REPORT


def _evaluated(run: Run) -> Path | None:
    """The folder of an evaluation of the run's model: the run's own, else the newest directly below it.

    What lies there and judges something else, such as the simulator, is none of the run's.
    """
    if not run.model.is_dir():
        return None
    files, model = (run.folder / EVALUATION, *run.folder.glob(f"*/{EVALUATION}")), weights_digest(run.model)
    found = [file.parent for file in files if file.is_file() and read_json(file).get(MODEL) == model]
    return max(found, key=lambda place: (place == run.folder, (place / EVALUATION).stat().st_mtime), default=None)


def _render(page: Path, evaluated: Path | None, owner: Run | None) -> None:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(with_error=with_error, number=number, sigmas=sigmas, breakable=_breakable)
    environment.filters["arrow"] = lambda word: _ARROWS.get(word, word)
    evaluation = read_json(evaluated / EVALUATION) if evaluated else None
    record = read_json(owner.provenance) if owner and owner.provenance.is_file() else None
    content = {
        "title": owner.folder.resolve().name if owner else page.parent.resolve().name,
        "domain": (evaluation or record or {}).get("domain", ""),
        "evaluation": evaluation,
        "figures": _figures(evaluated, evaluation) if evaluated and evaluation else [],
        "losses": _embed(owner.figures / "losses.png") if owner else None,
        "config": owner.config.read_text(encoding="utf-8") if owner else None,
        "facts": _facts(evaluation, record),
        "speed": sentence(record["speed"]) if record and "speed" in record else None,
        "provenance": _provenance(evaluation, record),
        "commands": commands(evaluation, record, owner),
    }
    write_text(page, environment.get_template("report.html.j2").render(content))


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _figures(folder: Path, evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"caption": figure["caption"], "image": image}
        for figure in evaluation["figures"]
        if (image := _embed(folder / "figures" / Path(figure["file"]).name))
    ]


def _embed(file: Path) -> Markup | None:
    """A PNG as a data URL; None if it is not there."""
    if not file.is_file():
        return None
    return Markup("data:image/png;base64,") + base64.b64encode(file.read_bytes()).decode()


def _facts(evaluation: Mapping[str, Any] | None, record: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The few figures that stand below the verdict."""
    facts = []
    if evaluation:
        inputs = evaluation["inputs"]
        facts += [("reference samples", f"{inputs['reference']['n']:,}")]
        facts += [("generated samples", f"{inputs['generated']['n']:,}")]
    if record:
        facts += [("parameters", f"{record['parameters']:,}"), ("fitting", duration(record["wall_seconds"]))]
        facts += [("fitted on", record["hardware"])]
    return facts


def _provenance(evaluation: Mapping[str, Any] | None, record: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if record:
        data, packages = record["data"], record["packages"]
        rows += [
            ("fit status", record["status"]),
            ("fitted", f"{record['started']} to {record.get('finished', 'now')}, sessions: {record['sessions']}"),
            ("training data", f"{data['file']}, {data['training_rows']:,} of {data['rows']:,} rows"),
            ("training data SHA-256 of content (all rows)", data["sha256"]),
            ("config hash", record["config_hash"]),
            ("seed", str(record["seed"])),
            ("device", f"{record['hardware']} ({record['device']}, processes: {record['world_size']})"),
            ("git", record["git"] or "not in a repository"),
            ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
            ("fit command", record["command"]),
        ]
        rows += [("resumed", _session(session)) for session in record.get("resumed", [])]
    if evaluation:
        for side, one in sides(evaluation):
            rows += [(f"{side} file", f"{one['file']}, rows {one['rows']}")]
            rows += [(f"{side} SHA-256 of content ({hashed_rows(side, one)})", one["sha256"])]
        rows += [
            ("validated", f"{evaluation['provenance']['started']} on {evaluation['provenance']['hardware']}"),
            ("effort and seed of validation", f"{evaluation['inputs']['effort']}, {evaluation['inputs']['seed']}"),
        ]
    return rows


def _session(session: Mapping[str, Any]) -> str:
    """One line of a later session of a fit."""
    return f"{session['started']}: {session['command']} (git {session['git']}, on {session['hardware']})"
