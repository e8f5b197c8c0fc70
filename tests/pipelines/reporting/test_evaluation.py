"""`evaluation.json`: metrics judged by their floor, and a bad file answered in a sentence."""

import json
import math

import pytest
from maquette.core.errors import ArtifactError
from maquette.core.statistics.estimate import Estimate
from maquette.pipelines.demo import _evaluated
from maquette.pipelines.report import report
from maquette.pipelines.reporting.evaluation import EstimateRecord, EvaluationRecord, hashed_rows, read_evaluation
from maquette.pipelines.validate import validate


@pytest.mark.parametrize(
    ("value", "floor", "significance", "passes"),
    [
        (1.5, 0.5, 1.0, True),
        (3.5, 0.5, 3.0, True),
        (3.75, 0.5, 3.25, False),
        (math.nan, 0.5, None, False),  # what the reference shows and the generated data cannot
        (math.nan, math.nan, None, None),
    ],
)
def test_a_metric_passes_within_three_standard_errors_of_its_floor(value, floor, significance, passes):
    record = EstimateRecord.of(Estimate(value, 1.0, floor, 5, "", "lower", "x.", 0.0))
    assert record.passes is passes
    assert record.significance == (None if significance is None else pytest.approx(significance))


@pytest.fixture
def evaluated(data, folder):
    validate("toy", reference=data, generated=data, out="v", track=False)
    return folder / "v"


def test_an_evaluation_is_read_as_it_was_written(evaluated, data):
    record = read_evaluation(evaluated)
    assert record.model_dump(mode="json", by_alias=True) == json.loads((evaluated / "evaluation.json").read_text())
    sides = dict(record.inputs.sides())
    assert set(sides) == {"reference", "generated"}  # no run is known, so no training data either
    assert sides["reference"].file == str(data)
    assert hashed_rows("reference", sides["reference"]) == "all rows"
    cut = sides["reference"].model_copy(update={"rows": "0:5"})
    assert (hashed_rows("reference", cut), hashed_rows("training", cut)) == ("rows 0:5", "all rows")


def test_an_old_or_damaged_evaluation_is_a_sentence(evaluated):
    file = evaluated / "evaluation.json"
    content = json.loads(file.read_text())
    for change, sentence in (
        ({"schema": 1}, "expected schema 2, found 1: .*; validate again"),
        ({"estimates": {"radius": {}}}, r'damaged at the key "estimates\.radius\.value" .*; validate again'),
    ):
        file.write_text(json.dumps(content | change))
        for use in (read_evaluation, _evaluated):
            with pytest.raises(ArtifactError, match=sentence):
                use(evaluated)


def test_a_damaged_run_is_a_sentence(validated):
    (validated / "validation" / "evaluation.json").write_text("{")
    with pytest.raises(ArtifactError, match="not readable as JSON"):
        report(validated)


def test_every_key_of_an_evaluation_has_a_type():
    schema = EvaluationRecord.model_json_schema()
    assert {"InputsRecord", "EstimateRecord", "GeneratedRecord", "Provenance"} <= set(schema["$defs"])
