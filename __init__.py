"""Maquette: fast, trustworthy surrogates of expensive simulations and measurements.

    import maquette

    model = maquette.load("runs/showers")
    showers = model.sample(1000, seed=7)

The verbs that make something are functions of the same names: `demo`, `simulate`, `fit`, `generate`, `validate`,
`report`, `export`. `DataSide` chooses rows of a data file that a verb reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .pipelines.arguments import DataSide
    from .pipelines.demo import demo
    from .pipelines.export import export
    from .pipelines.fit import fit
    from .pipelines.generate import generate
    from .pipelines.load import load
    from .pipelines.report import report
    from .pipelines.simulate import simulate
    from .pipelines.validate import validate

__all__ = ["DataSide", "__version__", "demo", "export", "fit", "generate", "load", "report", "simulate", "validate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # torch is imported where it is used, so that `import maquette` stays quick
    module = "arguments" if name == "DataSide" else name
    return getattr(import_module(f".pipelines.{module}", __name__), name)
