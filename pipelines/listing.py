"""`maquette list`: families, domains and recipes as tables (columns, rows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.capabilities import capabilities
from ..core.families import families
from ..domains import domains
from .extras import remedy
from .safe_yaml import read_yaml

Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def families_table() -> Listing:
    """Name, capabilities, spaces, reference and summary of every generative family."""
    rows = [
        (name, ", ".join(capabilities(config.model)), ", ".join(config.spaces), config.reference, config.summary)
        for name, config in families.items()
    ]
    return ("family", "can", "spaces", "reference", "what it is"), rows


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
