"""A fitted model as MLflow serves it: `mlflow.pyfunc.load_model("runs:/ID/model").predict(conditions)`."""

from __future__ import annotations

from typing import Any

import pandas
import torch
from mlflow.pyfunc.model import PythonModel

from ..core.errors import ConfigError, did_you_mean
from ..core.noise import KeyedNoise
from ..core.spaces import Tree
from .load import Model, load


class Served(PythonModel):
    """One sample per row of conditions; the parameter `seed` decides which."""

    def load_context(self, context: Any) -> None:
        self.model: Model = load(context.artifacts["model"])

    def predict(self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Return samples as an array (or named arrays) of as many rows as the conditions have."""
        seed = int((params or {}).get("seed", 0))
        x = self.model.sample(len(model_input), conditions(self.model, model_input), seed=seed)
        return x.numpy() if isinstance(x, torch.Tensor) else {name: part.numpy() for name, part in x.items()}


def conditions(model: Model, table: pandas.DataFrame) -> Tree | None:
    """Columns named like the physical conditions, shaped and typed as the codec itself draws them.

    A table without columns leaves the conditions to the law seen in training.

    Raises:
        ConfigError: a column that is no condition, or a condition without a column.
    """
    if not len(table.columns):
        return None
    pattern = model.generator.codec.draw_condition(KeyedNoise(0, torch.arange(len(table))))
    if isinstance(pattern, torch.Tensor):
        return torch.tensor(table.to_numpy(), dtype=pattern.dtype).reshape(pattern.shape)
    for column in table.columns:
        if column not in pattern:
            raise ConfigError(f'"{column}" is no condition.{did_you_mean(column, pattern)} Known: {list(pattern)}.')
    if missing := sorted(set(pattern) - set(table.columns)):
        raise ConfigError(f"expected a column for each condition; {missing} are missing.")
    return {
        name: torch.tensor(table[name].tolist(), dtype=part.dtype).reshape(part.shape) for name, part in pattern.items()
    }
