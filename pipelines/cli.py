"""The command line. Each verb is a few lines around the function of its module, imported when it is called."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from .._version import __version__
from ..core.config import override
from ..core.engine.signals import TERMINATING, interruptible
from ..core.errors import ConfigError
from .arguments import DataSide, data_files, parse_size
from .console.errors import BAD_INPUT, FAILED, INTERRUPTED, exit_on_error
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
)

if TYPE_CHECKING:
    from ..core.precision import Precision
    from .console.screen import Lines, Silent, Terminal
    from .streaming import Generated

HELP = f"""Fast, trustworthy surrogates of expensive simulations and measurements.

Exit codes: 0 done, {FAILED} the work failed, {BAD_INPUT} bad input (command line, config, data or model),
{INTERRUPTED} interrupted with the state saved (the same command with --resume goes on), 130 stopped from the keyboard.
Domains may have verbs of their own: `maquette list domains` names them, `maquette DOMAIN --help` explains them.
"""


class Verbs(TyperGroup):
    """Commands whose errors become a sentence and an exit code; domains bring further ones.

    They are looked for only when a word is no command of all domains, because that imports the domain.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if (command := super().get_command(ctx, cmd_name)) is not None:
            return command
        from .domain_commands import command_group

        return command_group(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        with exit_on_error():
            try:
                return super().invoke(ctx)
            except Exception as error:
                _suggest_data_option(error)
                raise


def _suggest_data_option(error: Any) -> None:
    """Let an unknown option of a verb that reads data suggest --option: the reader may know it."""
    verb = getattr(getattr(error, "ctx", None), "command", None)
    if hasattr(error, "option_name") and any("--option" in parameter.opts for parameter in getattr(verb, "params", ())):
        suggestion = f"--option {error.option_name.lstrip('-')}=VALUE"
        error.possibilities = [*(error.possibilities or ()), suggestion]


def _group(help: str) -> typer.Typer:
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False)


app = typer.Typer(
    cls=Verbs,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lists, configs, datas = _group("List what is there."), _group("Look at configs."), _group("Look at data.")
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

    with _screen() as screen:
        page = run_demo(domain, out=out, seed=seed, screen=screen)
        screen.say(f"report: {page.resolve().as_uri()}")
        _print_run(screen, out / "run")


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

    with _screen() as screen:
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
        _print_made(screen, done)
        _print_place(screen, "folder", out.resolve().parent, None)


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
    with interruptible(), _screen() as screen:
        from .fit import fit as run_fit  # takes seconds, in which a signal may come

        fitted = run_fit(
            domain,
            data=data_files(data),
            out=out,
            recipe=recipe,
            overrides=words,
            resume=resume,
            device=device,
            tags=_tags(tag or []),
            screen=screen,
        )
        if fitted.already:
            screen.say(f"{out}: this run is finished already; there is nothing to resume.")
        _print_run(screen, out)


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
    with _screen() as screen:
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
        _print_made(screen, done)
        _print_run(screen, run)


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
    from .reporting.evaluation import headings
    from .validate import metrics_table
    from .validate import validate as run_validate

    with _screen() as screen:
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
        _print_place(screen, "folder", out, done.store)


@app.command()
def report(run: RunFolder) -> None:
    """Rebuild a run's report from what its folder holds."""
    from .report import report as run_report

    with _screen() as screen:
        screen.say(f"report: {run_report(run).resolve().as_uri()}")
        _print_run(screen, run)


@app.command()
def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="onnx or libtorch")],
    out: Annotated[Path, typer.Option(help="file to write")],
) -> None:
    """Write a run's generator as a file that C++ frameworks read."""
    from .export import export as run_export

    with _screen() as screen:
        done = run_export(run, format=format, out=out, screen=screen)
        screen.say(f"file: {done.file}, described in {done.sidecar.name}")
        screen.say(str(done.agreement))
        _print_run(screen, run)


@app.command()
def doctor() -> None:
    """Check whether this machine has what Maquette needs."""
    from .doctor import examine

    with _screen() as screen:
        checks = examine()
        screen.table("doctor", ("what", "found"), [check[:2] for check in checks])
        for check in checks:
            if check.remedy:  # a line of its own can be copied whole
                screen.say(f"{check.what}: {check.remedy}")
        if any(check.needed and check.remedy for check in checks):
            raise typer.Exit(FAILED)


@lists.command("families")
def list_families() -> None:
    """List the generative families: what they can do, which spaces they model, and their papers."""
    from .listing import families_tables

    with _screen() as screen:
        for title, listing in families_tables():
            screen.table(title, *listing)


@lists.command("domains")
def list_domains() -> None:
    """List the domains that are installed."""
    from .listing import domains_table

    with _screen() as screen:
        screen.table("domains", *domains_table())


@lists.command("recipes")
def list_recipes(domain: DomainName) -> None:
    """List the named configs of a domain."""
    from .listing import recipes_table

    with _screen() as screen:
        screen.table(f"recipes of {domain}", *recipes_table(domain))


@configs.command("show")
def config_show(domain: DomainName, assignments: Assignments = None, recipe: Recipe = None) -> None:
    """Print a recipe with every value resolved, as YAML."""
    from ..domains import domains
    from .run.config import DEFAULT_RECIPE, resolve

    typer.echo(resolve(domains.get(domain), recipe or DEFAULT_RECIPE, assignments or []).to_yaml(), nl=False)


@configs.command("schema")
def config_schema(domain: DomainName) -> None:
    """Print the JSON schema of a domain's configs, for editors."""
    from ..domains import domains
    from .run.config import schema

    typer.echo(schema(domains.get(domain)))


@configs.command("validate")
def config_validate(file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file")]) -> None:
    """Check a config."""
    from ..domains import domains
    from .run.config import domain_name, read_config

    config = read_config(file, domains.get(domain_name(file)))
    typer.echo(f"{file}: a valid config of the domain {config.domain} (hash {config.digest()[:12]}).")


@datas.command("check")
def data_check(
    domain: DomainName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="data file")],
    option: DataOptions = None,
) -> None:
    """Check a whole data file against its spec."""
    from ..domains import domains

    plugin = domains.get(domain)
    with _screen() as screen:
        rows = plugin.check(file, override({}, option or []), screen.progress)
        screen.table(f"data: {file}", ("what", "value"), rows)
        screen.say(f"{file}: meets the data spec of {domain}.")


def _tags(words: list[str]) -> dict[str, str]:
    """The tags that NAME=VALUE words give; raises `ConfigError`."""
    tags: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or name in tags:
            raise ConfigError(f'--tag "{word}": tags are written NAME=VALUE, each name once.')
        tags[name] = value
    return tags


def _screen() -> Terminal | Lines | Silent:
    from .console.screen import screen

    return screen()


def _print_made(screen: Terminal | Lines | Silent, done: Generated) -> None:
    screen.say(str(done.throughput))
    screen.say(f"file: {done.file} ({done.n:,} samples)")


def _print_place(screen: Terminal | Lines | Silent, what: str, folder: Path, store: str | None) -> None:
    from .mlflow.store import how_to_open

    screen.say(f"{what}: {folder}")
    if store:
        screen.say(f"MLflow: {how_to_open(store)}")


def _print_run(screen: Terminal | Lines | Silent, folder: Path) -> None:
    from .mlflow.store import read_tracking
    from .run.folder import Run

    tracking = read_tracking(Run(folder))
    _print_place(screen, "run", folder, tracking.uri if tracking else None)


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
