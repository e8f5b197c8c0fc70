"""Words and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import ConfigError
from .arguments import LARGEST_SEED, DataSide

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", help="a domain, see `maquette list domains`")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run")]
Assignments = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same result", min=0, max=LARGEST_SEED)]
BatchSize = Annotated[int | None, typer.Option(help="samples made at once", min=1)]
Recipe = Annotated[str | None, typer.Option(help="named config of the domain, or a YAML file; quick if not given")]
DataOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="of the domain's reader of data; repeatable")
]
SamplingPrecision = Annotated[str, typer.Option(help="of the networks' products: float32, tf32 or bfloat16")]
NoTracking = Annotated[bool, typer.Option("--no-tracking", help="do not log to MLflow")]


def steering(words: list[str]) -> tuple[list[str], list[str]]:
    """The words that set options of sampling, and the others.

    >>> steering(["condition.angle=1", "sampler.steps=50", "second.sampler.steps=5"])
    (['sampler.steps=50', 'second.sampler.steps=5'], ['condition.angle=1'])
    """
    chosen = ["sampler" in word.partition("=")[0].split(".")[:-1] for word in words]
    pairs = list(zip(words, chosen, strict=True))
    return [word for word, taken in pairs if taken], [word for word, taken in pairs if not taken]


def side(option: str, file: Path | None, rows: str | None, rows_option: str) -> DataSide | None:
    """A file with rows that an option of their own chooses.

    Raises:
        ConfigError: rows without a file.

    >>> side("--data", Path("showers.h5"), "0:100", "--data-rows")
    DataSide(file=PosixPath('showers.h5'), rows='0:100')
    """
    if file:
        return DataSide(file, rows)
    if rows:
        raise ConfigError(f"{rows_option} chooses rows of the file that {option} names; give both.")
    return None


def tags_of(words: list[str]) -> dict[str, str]:
    """The tags that NAME=VALUE words give; raises `ConfigError`.

    >>> tags_of(["study=widths", "trial=7"])
    {'study': 'widths', 'trial': '7'}
    """
    tags: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or name in tags:
            raise ConfigError(f'--tag "{word}": tags are written NAME=VALUE, each name once.')
        tags[name] = value
    return tags
