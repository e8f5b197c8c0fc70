"""`maquette demo`: fit, generate, validate and report on the data that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.artifact import weights_digest
from ..core.errors import ConfigError
from ..domains import domains
from ..domains.plugin import Domain
from .arguments import DataSide, check_seed
from .console.screen import Screen, Silent
from .files import writable
from .fit import fit
from .generate import generate
from .load import load
from .report import report
from .reporting.evaluation import FILE, read_evaluation
from .run.config import first_difference, read_config, resolve
from .run.folder import MODEL_SHA256, Run, new_run
from .validate import validate

RECIPE, FALLBACK, EFFORT = "demo", "quick", "quick"
HELD_OUT = 3  # one sample in so many is held out from the fit, to compare the generated ones with


def demo(domain: str, *, out: str | Path = "demo", seed: int = 0, screen: Screen | None = None) -> Path:
    """Fit, generate, validate and report on the data that come with the package.

    A demo that was stopped continues where it was; what is finished is not done again.

    Args:
        domain: name of the domain.
        out: folder for everything that the demo makes.
        seed: of the fit, the samples and the validation.
        screen: where progress and results are shown; nowhere if not given.

    Returns:
        The report.

    Raises:
        ConfigError: no such domain, or `out` holds something else.

    The whole demo takes a minute on two cores. What is in the way is refused at once:

    >>> demo("calorimetre")
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: There is no domain called "calorimetre". Did you mean "calorimeter"? ...
    >>> demo("calorimeter", out=__file__)
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: ...demo.py: there is a file of this name; choose another folder for the demo.
    """
    screen, seed = screen or Silent(), check_seed(seed)
    plugin, folder = domains.get(domain), Path(out)
    data, recipe = plugin.sample_path(), RECIPE if RECIPE in plugin.recipes() else FALLBACK
    source = plugin.open(data, {})
    rows = len(source)
    kept = rows - rows // HELD_OUT
    words = [f"data.rows=0:{kept}", f"seed={seed}"]
    run = _free_run(plugin, folder, recipe, words)
    fit(domain, data=data, out=run.folder, recipe=recipe, overrides=words, resume=True, screen=screen)

    generated, held_out = folder / f"generated{data.suffix}", DataSide(data, f"{kept}:{rows}")
    conditions = held_out if load(run.folder).conditional else None
    generate(run.folder, n=rows - kept, seed=seed ^ 1, out=generated, conditions_from=conditions, screen=screen)
    validation = run.folder / "validation"
    wanted = {
        "reference": source.rows(kept, rows).digest,
        "generated": plugin.open(generated, {}).digest,
        MODEL_SHA256: weights_digest(run.model),
        "effort": EFFORT,
        "seed": seed,
    }
    if _evaluated(validation) != wanted:
        validate(
            domain,
            reference=held_out,
            generated=generated,
            out=validation,
            effort=EFFORT,
            seed=seed,
            run=run.folder,
            screen=screen,
        )
    page = report(run.folder)
    screen.say(f"verdict: {read_evaluation(validation).verdict}")
    return page


def _free_run(plugin: Domain, folder: Path, recipe: str, words: list[str]) -> Run:
    """The demo's run; raises `ConfigError` if something else is there, before anything is done."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: there is a file of this name; choose another folder for the demo.")
    if Run(folder).config.is_file():
        raise ConfigError(f"{folder}: this folder is a run; choose another one for the demo.")
    run = new_run(folder / "run")
    if run.config.is_file() and (
        differs := first_difference(read_config(run.config, plugin), resolve(plugin, recipe, words))
    ):
        raise ConfigError(f"{run.folder}: there is another run here, in which {differs} differ; choose another --out.")
    writable(folder)
    return run


def _evaluated(folder: Path) -> dict[str, Any]:
    """The inputs of the evaluation in a folder; empty if there is none."""
    if not (folder / FILE).is_file():
        return {}
    found = read_evaluation(folder)
    inputs = found.inputs
    return {
        "reference": inputs.reference.sha256,
        "generated": inputs.generated.sha256,
        MODEL_SHA256: found.model_sha256,
        "effort": inputs.effort,
        "seed": inputs.seed,
    }
