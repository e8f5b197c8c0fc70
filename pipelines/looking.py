"""Commands that look at what there is, and make nothing: `list`, `config`, `data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Assignments, DataOptions, DomainName, Recipe
from .output import open_screen


def _group(help: str) -> typer.Typer:
    return typer.Typer(help=help, no_args_is_help=True, add_completion=False)


lists, configs, datas = _group("List what is there."), _group("Look at configs."), _group("Look at data.")


@lists.command("families")
def list_families() -> None:
    """List the generative families: what they can do, which spaces they model, and their papers."""
    from .listing import families_tables

    with open_screen() as screen:
        for title, listing in families_tables():
            screen.table(title, *listing)


@lists.command("domains")
def list_domains() -> None:
    """List the domains that are installed."""
    from .listing import domains_table

    with open_screen() as screen:
        screen.table("domains", *domains_table())


@lists.command("recipes")
def list_recipes(domain: DomainName) -> None:
    """List the named configs of a domain."""
    from .listing import recipes_table

    with open_screen() as screen:
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
    from ..core.config import override
    from ..domains import domains

    plugin = domains.get(domain)
    with open_screen() as screen:
        rows = plugin.check(file, override({}, option or []), screen.progress)
        screen.table(f"data: {file}", ("what", "value"), rows)
        screen.say(f"{file}: meets the data spec of {domain}.")
