"""The table of domains; other distributions add theirs through the entry points `maquette.domains`.

>>> domains.get("calorimeter").summary
'particle showers in layers of cells, given the incident energy'
"""

from importlib import import_module

from ..core.registry import Registry
from .plugin import Domain

domains: Registry[Domain] = Registry("domain", group="maquette.domains")
"""Domains by name, imported on first use, because each has its own dependencies."""

domains.declare("calorimeter", lambda: import_module(".calorimeter.plugin", __name__).CALORIMETER)
