"""How an error becomes one sentence and an exit code.

| code | meaning                                                                    |
|-----:|----------------------------------------------------------------------------|
|    0 | done                                                                       |
|    1 | the work failed (a loss that is not finite, a full disk)                   |
|    2 | bad input: a word of the command line, a config, a data file, a model      |
|   75 | interrupted and saved (EX_TEMPFAIL): the same command with --resume goes on |
|  130 | stopped from the keyboard                                                  |
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ...core.errors import ArtifactError, ConfigError, Interrupted, MaquetteError, SampleError, SpaceError
from ...data_specs.errors import DataError
from .extras import install_line_of
from .text import printable

FAILED, BAD_INPUT, INTERRUPTED, STOPPED = 1, 2, Interrupted.EXIT_CODE, 130
_BAD_INPUT = (ConfigError, ArtifactError, SpaceError, SampleError, DataError)


def exit_code(error: BaseException) -> int:
    """The exit code of the table above.

    >>> exit_code(ConfigError("seed: expected a whole number.")), exit_code(OSError("disk full"))
    (2, 1)
    """
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if isinstance(error, _BAD_INPUT):
        return BAD_INPUT
    return INTERRUPTED if isinstance(error, Interrupted) else FAILED


def error_sentence(error: BaseException) -> str:
    """What the user reads: the error's own words if it was written for users, else its type as well.

    >>> error_sentence(OSError(28, "No space left on device", "runs/a"))
    'runs/a: No space left on device.'
    """
    if isinstance(error, KeyboardInterrupt):
        return "stopped from the keyboard; a fit goes on from its last checkpoint with --resume."
    if isinstance(error, MaquetteError | DataError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (line := install_line_of(error.name)):
        return f"{error.name} is not installed, which this needs; install it by: {line}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the operating system'}: {error.strerror}."
    return f"{type(error).__name__}: {error} (--debug shows where)."


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn any error of a verb into a red sentence on standard error and an exit code.

    `--debug` (or MAQUETTE_DEBUG=1) lets the traceback through.

    >>> try:
    ...     with exit_on_error():  # prints "maquette: seed: expected a whole number." on standard error
    ...         raise ConfigError("seed: expected a whole number.")
    ... except SystemExit as ended:
    ...     print(ended.code)
    2
    """
    try:
        yield
    except BrokenPipeError:  # the reader of our output left: `maquette list families | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except (Exception, KeyboardInterrupt) as error:
        if type(error).__module__.startswith("typer") or os.environ.get("MAQUETTE_DEBUG") == "1":
            raise
        from rich.console import Console

        code = exit_code(error)
        console = Console(stderr=True, highlight=False)
        who = f"maquette, rank {rank}" if (rank := os.environ.get("RANK", "0")) != "0" else "maquette"
        console.print(f"{who}: {printable(error_sentence(error))}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(code) from None
