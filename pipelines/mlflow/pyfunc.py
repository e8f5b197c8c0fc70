"""A fitted model as MLflow serves it: `mlflow.pyfunc.load_model("runs:/ID/model").predict(conditions)`.

MLflow imports this module by its name to load a logged model, and calls `_load_pyfunc`. No code or pickle is logged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import torch

from ...core.data import Batch
from ...core.errors import ConfigError, did_you_mean
from ...core.noise import KeyedNoise
from ...core.spaces import Tree
from ...domains.plugin import present
from ..load import Model, load


class ServedModel:
    """Draws one sample per row of conditions.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.core.config import parse
    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> data = plugin.open(plugin.sample_path(), {}).rows(0, 50)
    >>> config = parse(plugin.generator, {"family": {"kind": "linear"}}, where="example")
    >>> with TemporaryDirectory() as folder:
    ...     config.build(data.description, data).save(Path(folder) / "model", domain="calorimeter")
    ...     served = ServedModel(load(Path(folder) / "model"))
    >>> served.predict(pandas.DataFrame({"energy": [2000.0, 5000.0]}), {"seed": 7}).shape  # MeV
    (2, 504)
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Draw samples.

        Args:
            model_input: a column per physical condition; a table without columns leaves the conditions to the
                distribution seen in training.
            params: `seed`, 0 if not given.

        Returns:
            As many samples as the table has rows, in the form that the domain presents, an array (or named arrays) by
            default.

        Raises:
            ConfigError: columns that are not the conditions, or values beyond those of training.
        """
        seed = int((params or {}).get("seed", 0))
        given = conditions(self.model, model_input)
        x = self.model.sample(len(model_input), given, seed=seed)
        return present(self.model.domain, Batch(x, given, torch.arange(len(model_input))))


def _load_pyfunc(data_path: str) -> ServedModel:
    """The loader that MLflow calls, with the folder of the logged artefact."""
    return ServedModel(load(Path(data_path)))


def conditions(model: Model, table: pandas.DataFrame) -> Tree | None:
    """Columns named like the physical conditions, with the shapes and types of those in training.

    A table without columns gives None: the distribution seen in training.

    Raises:
        ConfigError: a column that is no condition, or a condition without a column.
    """
    if not len(table.columns):
        return None
    n = len(table)
    drawn = model.generator.typical_condition(n, KeyedNoise(0, torch.arange(n)))
    drawn = {} if drawn is None else drawn
    if isinstance(drawn, torch.Tensor):
        return torch.tensor(table.to_numpy(), dtype=drawn.dtype).reshape(drawn.shape)
    for column in table.columns:
        if column not in drawn:
            raise ConfigError(f'"{column}" is no condition.{did_you_mean(column, drawn)} Known: {list(drawn)}.')
    if missing := sorted(set(drawn) - set(table.columns)):
        raise ConfigError(f"expected a column for each condition; {missing} are missing.")
    return {
        name: torch.tensor(table[name].tolist(), dtype=part.dtype).reshape(part.shape) for name, part in drawn.items()
    }
