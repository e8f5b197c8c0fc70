"""`maquette demo`: the whole path on the data that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.artifact import weights_digest
from ..core.errors import ConfigError
from ..domains import domains
from ..domains.plugin import Domain
from .atomic import read_json, writable
from .config import difference, read_config, resolve
from .fit import fit
from .generate import generate
from .paths import MODEL, Run, new_run
from .report import EVALUATION, report
from .screen import Screen, Silent
from .seeds import check_seed
from .validate import validate

RECIPE, FALLBACK = "demo", "quick"
HELD_OUT = 3  # one sample in so many is kept from the fit, to be held against the generated ones


def demo(domain: str, *, out: str | Path = "demo", seed: int = 0, screen: Screen | None = None) -> Path:
    """Fit, generate, validate and report below `out`; returns the report.

    A demo that was stopped goes on where it was, and what is finished is not done again.

    Raises:
        ConfigError: no such domain, or `out` is taken by something else.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    plugin, folder = domains.get(domain), Path(out)
    data, recipe = plugin.sample_path(), RECIPE if RECIPE in plugin.recipes() else FALLBACK
    source = plugin.open(data, {})
    rows = len(source)
    kept = rows - rows // HELD_OUT
    words = [f"data.rows=0:{kept}", f"seed={seed}"]
    run = _place(plugin, folder, recipe, words)
    fit(domain, data=data, out=run.folder, recipe=recipe, overrides=words, resume=True, screen=screen)

    generated, held_out = folder / f"generated{data.suffix}", f"{kept}:{rows}"
    generate(run.folder, seed=seed ^ 1, out=generated, conditions_from=data, conditions_rows=held_out, screen=screen)
    sides: dict[str, Any] = {"reference": data, "reference_rows": held_out, "generated": generated}
    judged, options = run.folder / "validation", {"effort": "quick", "seed": seed}
    wanted = {
        "reference": source.rows(kept, rows).digest,
        "generated": plugin.open(generated, {}).digest,
        MODEL: weights_digest(run.model),
        **options,
    }
    if _judged(judged) != wanted:
        validate(domain, **sides, out=judged, **options, run=run.folder, screen=screen)
    page = report(run.folder)
    screen.say(f"verdict: {read_json(judged / EVALUATION)['verdict']}")
    return page


def _place(plugin: Domain, folder: Path, recipe: str, words: list[str]) -> Run:
    """The demo's run; raises `ConfigError` where something else lies there, before anything is done."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: there is a file of this name; choose another folder for the demo.")
    if Run(folder).config.is_file():
        raise ConfigError(f"{folder}: this folder is a run; choose another one for the demo.")
    run = new_run(folder / "run")
    if run.config.is_file() and (
        differs := difference(read_config(run.config, plugin), resolve(plugin, recipe, words))
    ):
        raise ConfigError(f"{run.folder}: there is another run here, in which {differs} differ; choose another --out.")
    writable(folder)
    return run


def _judged(folder: Path) -> dict[str, Any]:
    """What an evaluation that lies in the folder was made of; empty if there is none."""
    if not (folder / EVALUATION).is_file():
        return {}
    found = read_json(folder / EVALUATION)
    inputs = found["inputs"]
    digests = {side: inputs[side]["sha256"] for side in ("reference", "generated")}
    return {**digests, MODEL: found.get(MODEL), "effort": inputs["effort"], "seed": inputs["seed"]}
