"""What the report says of the latency, also where the model is slower than what it replaces."""

import json

import pytest
from maquette.pipelines.load import load
from maquette.pipelines.reporting.latency import latency_sentence, measure_latency
from maquette.pipelines.run.record import LatencyRecord

RECORD = LatencyRecord(single_ms=4.1, batched_ms=0.32, batch_size=1000, device="cpu", threads=2)


@pytest.mark.parametrize(
    ("reference_ms", "verdict"),
    [(22.0, "5.37 times faster than full transport (22 ms)"), (3.0, "for single samples this is no surrogate")],
)
def test_the_sentence_compares_single_samples(reference_ms, verdict):
    text = latency_sentence(RECORD.model_copy(update={"reference": "full transport", "reference_ms": reference_ms}))
    assert text.startswith("A sample takes 4.1 ms alone and 0.32 ms in batches of 1,000 (on cpu, 2 threads).")
    assert verdict in text


def test_without_a_reference_nothing_is_claimed():
    assert "faster" not in latency_sentence(RECORD)
    assert "surrogate" not in latency_sentence(RECORD)


def test_a_run_is_measured_and_its_report_says_so(fitted):
    stored = json.loads((fitted / "run.json").read_text())["latency"]
    fresh = measure_latency(load(fitted))
    assert stored.keys() == fresh.model_dump().keys()
    assert 0 < fresh.batched_ms < fresh.single_ms
    assert fresh.reference_ms == 2000
    assert "a pair of compasses" in (fitted / "report.html").read_text()
