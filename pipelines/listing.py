"""`maquette list`: families, domains and recipes as tables (columns, rows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.capabilities import capabilities
from ..core.families import FamilyConfig, families
from ..domains import domains
from .extras import remedy
from .safe_yaml import read_yaml

Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def families_tables() -> list[tuple[str, Listing]]:
    """Every generative family, in a table for each folder of them: name, and in lines what it is, can and takes."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, config in families.items():
        lines = (
            config.summary,
            f"can: {', '.join(capabilities(config.model))}",
            f"models: {', '.join(config.spaces)}; numbers: {', '.join(config.supports)}",
            config.reference,
        )
        groups.setdefault(_folder(config), []).append((name, "\n".join(lines)))
    columns = ("family", "what it is, what it can, what it models, where it is from")
    return [(f"families: {group}", (columns, groups[group])) for group in sorted(groups)]


def _folder(config: type[FamilyConfig]) -> str:
    """`flows` of `core/families/flows/spline.py`; of what lies in no folder, or comes from elsewhere, `others`."""
    home = f"{families.package}."
    folder, separator, _ = config.__module__.removeprefix(home).partition(".")
    return folder if separator and config.__module__.startswith(home) else "others"


def domains_table() -> Listing:
    """Name, summary and recipes of every domain; one whose extra is missing comes with the line that installs it."""
    return ("domain", "what it is", "recipes"), [_domain_row(name) for name in domains.names()]


def _domain_row(name: str) -> tuple[str, str, str]:
    try:
        plugin = domains.get(name)
    except ModuleNotFoundError as error:
        if line := remedy(error.name):
            return name, f"needs {error.name}: {line}", ""
        raise
    return name, plugin.summary, ", ".join(sorted(plugin.recipes()))


def recipes_table(domain: str) -> Listing:
    """Name, families and purpose of every recipe of a domain; raises `ConfigError`."""
    rows = []
    for name, file in sorted(domains.get(domain).recipes().items()):
        family = read_yaml(file).get("generator", {}).get("family", {})
        rows.append((name, _kinds(family), _purpose(file)))
    return ("recipe", "family", "for"), rows


def _kinds(family: dict[str, Any]) -> str:
    """`chain (spline, gan)`: a family with the kinds of those it is made of."""
    parts = [_kinds(value) for key, value in family.items() if key in ("first", "second", "teacher")]
    return f"{family.get('kind', '')} ({', '.join(parts)})" if parts else str(family.get("kind", ""))


def _purpose(file: Path) -> str:
    """The comment that a recipe begins with, if it does."""
    with file.open(encoding="utf-8") as lines:
        first = next(lines)
    return first.removeprefix("#").strip() if first.startswith("#") else ""
