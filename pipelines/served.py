"""What MLflow copies beside an artefact and runs to load it, outside of the package: no pickle is involved."""

from mlflow.models import set_model

from maquette.pipelines.serving import Served  # pyright: ignore[reportMissingImports]

set_model(Served())
