"""What MLflow copies beside an artefact and runs to load it, outside of the package: no pickle is involved."""

from maquette.pipelines.serving import Served  # pyright: ignore[reportMissingImports]
from mlflow.models import set_model

set_model(Served())
