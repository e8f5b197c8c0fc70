"""`maquette demo`: the whole path on the data that come with the package."""

from __future__ import annotations

from pathlib import Path

from ..domains import domains
from .fit import fit
from .generate import generate
from .paths import new_run
from .report import report
from .screen import Screen, Silent
from .validate import validate

RECIPE, FALLBACK = "demo", "quick"
HELD_OUT = 3  # one sample in so many is kept from the fit, to be held against the generated ones


def demo(domain: str, *, out: str | Path = "demo", seed: int = 0, screen: Screen | None = None) -> Path:
    """Fit, generate, validate and report below `out`; returns the report.

    A demo that was stopped goes on where it was; one that is finished is only reported again.

    Raises:
        ConfigError: no such domain, or `out` is taken by something else.
    """
    screen, plugin, folder = screen or Silent(), domains.get(domain), Path(out)
    run, data = new_run(folder / "run"), plugin.sample_path()
    rows = len(plugin.open(data, {}))
    kept = rows - rows // HELD_OUT
    held_out = f"{kept}:{rows}"
    recipe = RECIPE if RECIPE in plugin.recipes() else FALLBACK
    words = [f"data.rows=0:{kept}", f"seed={seed}"]
    fit(domain, data=data, out=run.folder, recipe=recipe, overrides=words, resume=True, screen=screen)
    generated = folder / f"generated{data.suffix}"
    if not generated.exists():
        generate(
            run.folder, seed=seed + 1, out=generated, conditions_from=data, conditions_rows=held_out, screen=screen
        )
    validate(
        domain,
        reference=data,
        reference_rows=held_out,
        generated=generated,
        out=run.folder / "validation",
        effort="quick",
        run=run.folder,
        screen=screen,
    )
    return report(run.folder)
