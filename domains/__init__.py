"""The table of domains; other distributions add theirs through the entry points `maquette.domains`."""

from ..core.registry import Registry
from .plugin import Domain

domains: Registry[Domain] = Registry("domain", group="maquette.domains")
