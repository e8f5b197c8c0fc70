"""Maquette: fast, trustworthy surrogates of expensive simulations and measurements.

The verbs of the command line are functions: `demo`, `simulate`, `fit`, `generate`, `validate`, `report`, `export`.
`verb` performs one that a domain brings. `load` reads a fitted model, and `DataSide` chooses rows of a data file that a
verb reads. From data to a model and its samples:

>>> from tempfile import TemporaryDirectory
>>> import maquette, torch
>>> folder = TemporaryDirectory()
>>> data, run = f"{folder.name}/showers.h5", f"{folder.name}/run"
>>> maquette.simulate("calorimeter", n=200, seed=0, out=data).n
200
>>> tiny = ["training.steps=2", "tracking=none"]  # a real fit has neither
>>> fitted = maquette.fit("calorimeter", data=data, out=run, recipe="smoke", overrides=["data.rows=0:200", *tiny])
>>> fitted
Fitted(run=Run(folder=PosixPath('...run')), already=False)
>>> model = maquette.load(run)
>>> model
Model(domain='calorimeter', folder='...model', device='cpu')
>>> energy = torch.full((5, 1), 5000.0)  # MeV
>>> model.sample(5, {"energy": energy}, seed=7).shape
torch.Size([5, 504])
>>> maquette.generate(run, n=100, seed=1, out=f"{folder.name}/generated.h5")
Generated(file=PosixPath('...generated.h5'), n=100, throughput=Throughput(samples=100, ...))
>>> maquette.report(run).name
'report.html'
>>> folder.cleanup()
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
    from .pipelines.verb import verb

__all__ = [
    "DataSide",
    "__version__",
    "demo",
    "export",
    "fit",
    "generate",
    "load",
    "report",
    "simulate",
    "validate",
    "verb",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # torch is imported where it is used, so that `import maquette` stays quick
    module = "arguments" if name == "DataSide" else name
    return getattr(import_module(f".pipelines.{module}", __name__), name)
