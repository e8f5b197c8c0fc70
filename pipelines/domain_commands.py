"""The commands of verbs that a domain brings: `maquette DOMAIN VERB RUN --out FILE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from ..core.errors import ConfigError
from ..core.precision import Precision
from ..domains import domains
from ..domains.verbs import Verb, verbs_of
from .console.screen import screen
from .options import Assignments, Device, RunFolder, SamplingPrecision, Seed, side, steering
from .verb import verb


def command_group(domain: str) -> TyperGroup | None:
    """The group of a domain's own verbs; None for a word that names no domain.

    Raises:
        ConfigError: the domain has none.

    >>> command_group("calorimeter")
    Traceback (most recent call last):
    maquette.core.errors.ConfigError: The domain "calorimeter" has no verbs of its own; ...
    """
    if domain not in domains.names():
        return None
    plugin = domains.get(domain)
    if not (known := verbs_of(plugin)):
        raise ConfigError(
            f'The domain "{domain}" has no verbs of its own; `maquette --help` lists those of all domains.'
        )
    group = typer.Typer(help=f"Verbs of {domain} alone ({plugin.summary}).", no_args_is_help=True, add_completion=False)
    for name, kind in sorted(known.items()):
        group.command(name, help=_help(kind))(_command(domain, name))
    return typer.main.get_group(group)


def _help(kind: type[Verb]) -> str:
    """What a verb does, and its keys."""
    keys = [f"{key}  {description}" for key, description in kind.options()]
    return "\n".join([kind.summary(), *(["", "\b", "KEY=VALUE, with defaults:", *keys] if keys else [])])


def _command(domain: str, name: str) -> Callable[..., None]:
    def command(
        run: RunFolder,
        out: Annotated[Path, typer.Option(help="what to write")],
        assignments: Assignments = None,
        data: Annotated[Path | None, typer.Option(help="data file to work on")] = None,
        data_rows: Annotated[str | None, typer.Option(help="START:STOP of that file")] = None,
        seed: Seed = 0,
        device: Device = "auto",
        precision: SamplingPrecision = "float32",
    ) -> None:
        sampler, others = steering(assignments or [])
        with screen() as shown:
            done = verb(
                domain,
                name,
                run,
                out=out,
                data=side("--data", data, data_rows, "--data-rows"),
                overrides=others,
                seed=seed,
                device=device,
                sampler=sampler,
                precision=cast("Precision", precision),
                screen=shown,
            )
            shown.table(name, ("what", "value"), done.results)
            shown.say(f"written: {out}")
            shown.say(f"run: {run}")

    return command
