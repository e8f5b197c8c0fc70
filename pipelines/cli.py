"""The command line. Each verb is a few lines around the function of its module, imported when it is called."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .._version import __version__
from ..core.engine.signals import TERMINATING, interruptible
from .arguments import DataSide, data_files, parse_size
from .console.errors import FAILED
from .group import HELP, Verbs
from .looking import configs, datas, lists
from .options import (
    Assignments,
    BatchSize,
    DataOptions,
    Device,
    DomainName,
    NoTracking,
    Recipe,
    RunFolder,
    SamplingPrecision,
    Seed,
    side,
    steering,
    tags_of,
)
from .output import open_screen, print_made, print_place, print_run

if TYPE_CHECKING:
    from ..core.precision import Precision

app = typer.Typer(
    cls=Verbs,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(lists, name="list")
app.add_typer(configs, name="config")
app.add_typer(datas, name="data")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"maquette {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and leave")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
) -> None:
    if debug:
        os.environ["MAQUETTE_DEBUG"] = "1"


@app.command()
def demo(
    domain: DomainName,
    out: Annotated[Path, typer.Option(help="folder for everything the demo makes")] = Path("demo"),
    seed: Seed = 0,
) -> None:
    """Fit, generate and validate on data that come with the package; some minutes on two cores."""
    from .demo import demo as run_demo

    with open_screen() as screen:
        page = run_demo(domain, out=out, seed=seed, screen=screen)
        screen.say(f"report: {page.resolve().as_uri()}")
        print_run(screen, out / "run")


@app.command()
def simulate(
    domain: DomainName,
    n: Annotated[int, typer.Option("--n", help="number of samples", min=1)],
    out: Annotated[Path, typer.Option(help="file to write")],
    assignments: Assignments = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
) -> None:
    """Make data with the domain's embedded simulator; KEY=VALUE sets the simulator's options."""
    from .simulate import simulate as run_simulate

    with open_screen() as screen:
        done = run_simulate(
            domain,
            n=n,
            seed=seed,
            out=out,
            overrides=assignments or [],
            batch_size=batch_size,
            device=device,
            screen=screen,
        )
        print_made(screen, done)
        print_place(screen, "folder", out.resolve().parent, None)


@app.command()
def fit(
    domain: DomainName,
    data: Annotated[
        list[str], typer.Option(metavar="[NAME=]FILE", help="data file to train on; several by their names, one leads")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="folder of the run")],
    assignments: Assignments = None,
    recipe: Recipe = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue an unfinished run, or start it")] = False,
    device: Device = "auto",
    option: DataOptions = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="to find the run by, in MLflow; repeatable")
    ] = None,
    no_tracking: NoTracking = False,
) -> None:
    """Fit a generator; also under torchrun. KEY=VALUE overrides the recipe, such as training.steps=500."""
    words = list(assignments or [])
    words += [f"data.options.{word}" for word in option or []]
    words += ["tracking=none"] if no_tracking else []
    with interruptible(), open_screen() as screen:
        from .fit import fit as run_fit  # takes seconds, in which a signal may come

        fitted = run_fit(
            domain,
            data=data_files(data),
            out=out,
            recipe=recipe,
            overrides=words,
            resume=resume,
            device=device,
            tags=tags_of(tag or []),
            screen=screen,
        )
        if fitted.already:
            screen.say(f"{out}: this run is finished already; there is nothing to resume.")
        print_run(screen, out)


@app.command()
def generate(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="file to write")],
    conditions: Annotated[
        list[str] | None, typer.Argument(metavar="[condition.NAME=VALUE | sampler.KEY=VALUE]...", show_default=False)
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="number of samples", min=1)] = None,
    seed: Seed = 0,
    conditions_from: Annotated[Path | None, typer.Option(help="data file whose conditions are taken")] = None,
    conditions_rows: Annotated[str | None, typer.Option(help="START:STOP of that file")] = None,
    per_condition: Annotated[int, typer.Option(help="samples for each of its rows", min=1)] = 1,
    size: Annotated[str | None, typer.Option(metavar="N,N,...", help="sides of another grid than training's")] = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    precision: SamplingPrecision = "float32",
) -> None:
    """Draw samples from a run's model; without conditions they are drawn from the distribution seen in training."""
    from .generate import condition_words
    from .generate import generate as run_generate

    sampler, others = steering(conditions or [])
    with open_screen() as screen:
        done = run_generate(
            run,
            n=n,
            seed=seed,
            out=out,
            conditions_from=side("--conditions-from", conditions_from, conditions_rows, "--conditions-rows"),
            per_condition=per_condition,
            conditions=condition_words(others),
            sampler=sampler,
            size=None if size is None else parse_size(size),
            batch_size=batch_size,
            device=device,
            precision=cast("Precision", precision),
            screen=screen,
        )
        print_made(screen, done)
        print_run(screen, run)


@app.command()
def validate(
    domain: DomainName,
    reference: Annotated[Path, typer.Option(help="data file to compare with")],
    generated: Annotated[Path, typer.Option(help="data file to judge, whoever made it")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for metrics.json, report.html and figures")],
    reference_rows: Annotated[str | None, typer.Option(help="START:STOP of the reference")] = None,
    generated_rows: Annotated[str | None, typer.Option(help="START:STOP of the generated file")] = None,
    training: Annotated[
        Path | None, typer.Option(help="data file the model was fitted to; found through its run if not given")
    ] = None,
    training_rows: Annotated[str | None, typer.Option(help="START:STOP of the training file")] = None,
    effort: Annotated[str, typer.Option(help="full, or quick for fewer samples and epochs")] = "full",
    seed: Seed = 0,
    option: DataOptions = None,
    run: Annotated[
        Path | None, typer.Option(help="run whose model generated; if not given, one nearby that the file names")
    ] = None,
    no_tracking: NoTracking = False,
) -> None:
    """Compare generated with reference data: physics metrics with errors and floors, figures, a report."""
    from ..core.config import override
    from .reporting.evaluation import headings
    from .validate import metrics_table
    from .validate import validate as run_validate

    with open_screen() as screen:
        done = run_validate(
            domain,
            reference=DataSide(reference, reference_rows),
            generated=DataSide(generated, generated_rows),
            out=out,
            training=side("--training", training, training_rows, "--training-rows"),
            effort=effort,
            seed=seed,
            options=override({}, option or []),
            run=run,
            track=not no_tracking,
            screen=screen,
        )
        estimates = done.evaluation.estimates
        screen.table("metrics", ("metric", "value", *headings(estimates.values())), metrics_table(done.evaluation))
        screen.say(f"verdict: {done.evaluation.verdict}")
        screen.say(f"report: {(out / 'report.html').resolve().as_uri()}")
        if done.source_run:
            screen.say(f"run: {done.source_run.folder}")
        print_place(screen, "folder", out, done.store)


@app.command()
def report(run: RunFolder) -> None:
    """Rebuild a run's report from what its folder holds."""
    from .report import report as run_report

    with open_screen() as screen:
        screen.say(f"report: {run_report(run).resolve().as_uri()}")
        print_run(screen, run)


@app.command()
def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="onnx or libtorch")],
    out: Annotated[Path, typer.Option(help="file to write")],
) -> None:
    """Write a run's generator as a file that C++ frameworks read."""
    from .export import export as run_export

    with open_screen() as screen:
        done = run_export(run, format=format, out=out, screen=screen)
        screen.say(f"file: {done.file}, described in {done.sidecar.name}")
        screen.say(str(done.agreement))
        print_run(screen, run)


@app.command()
def doctor() -> None:
    """Check whether this machine has what Maquette needs."""
    from .doctor import examine

    with open_screen() as screen:
        checks = examine()
        screen.table("doctor", ("what", "found"), [check[:2] for check in checks])
        for check in checks:
            if check.remedy:  # a line of its own can be copied whole
                screen.say(f"{check.what}: {check.remedy}")
        if any(check.needed and check.remedy for check in checks):
            raise typer.Exit(FAILED)


def main() -> None:
    """Entry point of `maquette` and of `python -m maquette`."""
    # torch's threads wait for one another by spinning 300,000 times, which is four times slower on shared cores;
    # a thousand times is as fast on idle ones
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app(prog_name="maquette")
    finally:
        # only the interpreter's exit is left, which takes PyTorch a second: a signal would spoil the exit code
        for number in TERMINATING:
            signal.signal(number, signal.SIG_IGN)
