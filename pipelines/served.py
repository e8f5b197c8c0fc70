"""A fitted model as MLflow loads it: `mlflow.pyfunc.load_model("runs:/ID/model").predict(conditions)`.

MLflow copies this file beside the artefact and runs it when the model is loaded, outside of the package.
"""

from typing import Any

import mlflow
import pandas
import torch
from maquette.core.errors import ConfigError, did_you_mean
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Tree
from maquette.pipelines.load import Model, load


class Served(mlflow.pyfunc.PythonModel):
    """One sample per row of conditions; params: `seed`."""

    def load_context(self, context: Any) -> None:
        self.model: Model = load(context.artifacts["model"])

    def predict(self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Return samples as an array (or named arrays) of as many rows as the conditions have."""
        seed = int((params or {}).get("seed", 0))
        x = self.model.sample(len(model_input), conditions(self.model, model_input), seed=seed)
        return x.numpy() if isinstance(x, torch.Tensor) else {name: part.numpy() for name, part in x.items()}


def conditions(model: Model, table: pandas.DataFrame) -> Tree | None:
    """Columns named like the physical conditions, shaped and typed as the codec itself draws them.

    Raises:
        ConfigError: a column that is no condition, or a condition without a column.
    """
    if not len(table.columns):
        return None
    noise = KeyedNoise(0, torch.arange(len(table)))
    pattern = model.generator.codec.draw_condition(noise)
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


mlflow.models.set_model(Served())
