"""The table of domains; other distributions add theirs through the entry points `maquette.domains`."""

from importlib import import_module

from ..core.registry import Registry
from .plugin import Domain

domains: Registry[Domain] = Registry("domain", group="maquette.domains")
"""A domain is imported when it is asked for: each has dependencies of its own."""

domains.declare("calorimeter", lambda: import_module(".calorimeter.plugin", __name__).CALORIMETER)
