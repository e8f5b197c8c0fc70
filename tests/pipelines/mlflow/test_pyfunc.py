"""A model as MLflow serves it: it draws what the model itself draws, and its conditions are checked."""

import pandas
import pytest
import torch
from maquette import load
from maquette.core.errors import ConfigError
from maquette.pipelines.mlflow.pyfunc import ServedModel, conditions


def test_served_conditions_are_checked(fitted):
    model = load(fitted)
    assert conditions(model, pandas.DataFrame(index=range(3))) is None
    with pytest.raises(ConfigError, match='Did you mean "angle"'):
        conditions(model, pandas.DataFrame({"angel": [1.0]}))
    value = conditions(model, pandas.DataFrame({"angle": [1, 2]}))
    assert value["angle"].dtype == torch.float32
    assert value["angle"].shape == (2, 1)


def test_a_served_model_draws_as_the_model_itself_does(fitted):
    model, angles = load(fitted), [0.0, 1.0, 2.0]
    served, table = ServedModel(model), pandas.DataFrame({"angle": angles})
    for seed, params in ((0, None), (7, {"seed": 7})):
        expected = model.sample(3, {"angle": torch.tensor(angles)[:, None]}, seed=seed)
        torch.testing.assert_close(torch.from_numpy(served.predict(table, params)), expected)
    assert len(served.predict(pandas.DataFrame(index=range(5)))) == 5
