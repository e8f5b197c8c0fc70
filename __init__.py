"""Maquette: fast, trustworthy surrogates of expensive simulations and measurements.

>>> import maquette
>>> model = maquette.load("runs/showers")
>>> showers = model.sample(1000, seed=7)
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # torch is imported where it is used, so that `import maquette` stays quick
        from .pipelines.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
