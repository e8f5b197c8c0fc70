"""The group of all commands."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from .console.errors import BAD_INPUT, FAILED, INTERRUPTED, exit_on_error

HELP = f"""Fast, trustworthy surrogates of expensive simulations and measurements.

Exit codes: 0 done, {FAILED} the work failed, {BAD_INPUT} bad input (command line, config, data or model),
{INTERRUPTED} interrupted with the state saved (the same command with --resume goes on), 130 stopped from the keyboard.
Domains may have verbs of their own: `maquette list domains` names them, `maquette DOMAIN --help` explains them.
"""


class Verbs(TyperGroup):
    """Commands whose errors become a sentence and an exit code; domains bring further ones.

    They are looked for only when a word is no command of all domains, because that imports the domain.

    >>> Verbs(name="maquette").get_command(None, "generate") is None  # neither a command that was added nor a domain
    True
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
