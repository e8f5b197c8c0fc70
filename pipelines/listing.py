"""`maquette list`: families, domains and recipes as tables (columns, rows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.capabilities import capabilities
from ..core.families import FamilyConfig, families
from ..domains import domains
from ..domains.verbs import verbs_of
from .console.extras import install_line_of
from .safe_yaml import read_yaml

Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def families_tables() -> list[tuple[str, Listing]]:
    """The generative families, a table per folder: each with its summary, capabilities, spaces and paper.

    >>> (title, (columns, rows)), *_ = families_tables()
    >>> title, [name for name, _ in rows][:2]
    ('families: autoregressive', ['fvsbn', 'made'])
    >>> print(rows[0][1])
    each conditional a generalised linear model of the features before it
    can: sample, density, conditionals
    models: vector, field, sequence, product; supports: binary, levels, interval, real
    Neal, Artif. Intell. 56 (1992) 71; Frey et al., NIPS 1995
    """
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, config in families.items():
        lines = (
            config.summary,
            f"can: {', '.join(capabilities(config.model))}",
            f"models: {', '.join(config.spaces)}; supports: {', '.join(config.supports)}",
            config.reference,
        )
        groups.setdefault(_folder(config), []).append((name, "\n".join(lines)))
    columns = ("family", "what it is, what it can, what it models, source")
    return [(f"families: {group}", (columns, groups[group])) for group in sorted(groups)]


def _folder(config: type[FamilyConfig]) -> str:
    """The folder below `core/families` that a family is in, such as `flows`; `others` if there is none."""
    home = f"{families.package}."
    folder, separator, _ = config.__module__.removeprefix(home).partition(".")
    return folder if separator and config.__module__.startswith(home) else "others"


def domains_table() -> Listing:
    """Name, summary, recipes and own verbs of every domain; if its extra is missing, the command that installs it.

    >>> columns, rows = domains_table()
    >>> columns, [row[0] for row in rows if row[0] == "calorimeter"]
    (('domain', 'what it is', 'recipes', 'own verbs'), ['calorimeter'])
    """
    return ("domain", "what it is", "recipes", "own verbs"), [_domain_row(name) for name in domains.names()]


def _domain_row(name: str) -> tuple[str, ...]:
    try:
        plugin = domains.get(name)
    except ModuleNotFoundError as error:
        if line := install_line_of(error.name):
            return name, f"needs {error.name}: {line}", "", ""
        raise
    return name, plugin.summary, ", ".join(sorted(plugin.recipes())), ", ".join(sorted(verbs_of(plugin)))


def recipes_table(domain: str) -> Listing:
    """Name, families and purpose of every recipe of a domain; raises `ConfigError`.

    >>> columns, rows = recipes_table("calorimeter")
    >>> rows[1][:2]
    ('gan', 'chain (spline, gan)')
    """
    rows = []
    for name, file in sorted(domains.get(domain).recipes().items()):
        family = read_yaml(file).get("generator", {}).get("family", {})
        rows.append((name, _kinds(family), _purpose(file)))
    return ("recipe", "family", "for"), rows


def _kinds(family: dict[str, Any]) -> str:
    """A family's kind with those of the families in it: `chain (spline, gan)`."""
    parts = [_kinds(value) for key, value in family.items() if key in ("first", "second", "teacher")]
    return f"{family.get('kind', '')} ({', '.join(parts)})" if parts else str(family.get("kind", ""))


def _purpose(file: Path) -> str:
    """The comment in the first line of a recipe, if there is one."""
    with file.open(encoding="utf-8") as lines:
        first = next(lines)
    return first.removeprefix("#").strip() if first.startswith("#") else ""
