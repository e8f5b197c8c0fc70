"""`maquette list`: families, domains and recipes as tables (columns, rows)."""

from __future__ import annotations

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
    """Name, family and file of every recipe of a domain; raises `ConfigError`."""
    rows = []
    for name, file in sorted(domains.get(domain).recipes().items()):
        family = read_yaml(file).get("generator", {}).get("family", {}).get("kind", "")
        rows.append((name, str(family), str(file)))
    return ("recipe", "family", "file"), rows
