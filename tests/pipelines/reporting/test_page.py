"""The report: one page that holds everything and needs nothing else."""

import json
import re
import shutil

from maquette.core.statistics.estimate import Estimate
from maquette.domains.plugin import Evaluation
from maquette.pipelines.report import report
from maquette.pipelines.validate import metrics_table


def test_the_report_holds_all_and_needs_nothing_else(validated):
    page = report(validated).read_text()
    assert not re.search(r"(?:src|href|url\()\s*[=(]?\s*[\"']?(?:https?:|//|file:)", page)
    assert "<script" not in page
    assert "<link" not in page
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 2  # one metric figure, the losses
    position = [page.index(part) for part in ("Distinguishable by radius", ">Metrics<", ">Figures<", ">Provenance<")]
    assert position == sorted(position)
    for part in ("Archimedes", "Not comparable.", "toy-line", "not judged", "maquette fit toy --data"):
        assert part in page


def test_names_in_the_report_are_escaped(validated):
    page = report(validated).read_text()
    assert "&lt;script&gt;alert" in page
    assert "<title>run&lt;b&gt;" in page


def test_pictures_that_are_none_are_left_out(validated, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the password")
    losses = validated / "validation" / "figures"
    (picture,) = losses.iterdir()
    drawn = picture.read_bytes()
    for make in (lambda: picture.symlink_to(secret), lambda: picture.write_text("the password")):
        picture.unlink()
        make()
        assert len(re.findall(r'<img src="data:image/png;base64,', report(validated).read_text())) == 1
    picture.write_bytes(drawn)


def test_the_report_of_a_validation_knows_the_run_around_it(validated):
    page = (validated / "validation" / "report.html").read_text()
    assert "Loss curves" in page
    assert "training data SHA-256 of content" in page


def test_a_report_can_be_built_again(validated):
    before = report(validated).read_text()
    (validated / "report.html").unlink()
    shutil.rmtree(validated / "figures")
    assert report(validated).read_text() == before


def test_a_remark_is_beside_the_value_in_every_table(validated):
    estimate = Estimate(1.0, 0.1, 0.5, 5, "", "lower", "x.", 0.1, remark="not comparable")
    evaluation = Evaluation({"fpd": estimate}, {}, [], "v")
    assert metrics_table(evaluation)[0][1] == "1.00 ± 0.10 (not comparable)"
    file = validated / "validation" / "evaluation.json"
    content = json.loads(file.read_text())
    content["estimates"]["radius"]["remark"] = "not comparable"
    file.write_text(json.dumps(content))
    assert report(validated).read_text().count("(not comparable)</td>") == 1


def test_baselines_and_nominal_values_are_named_in_every_table(validated):
    psnr = Estimate(31.2, 0.1, 30.1, 50, "dB", "higher", "x.", 0.1, against="baseline", baseline="wavelets")
    coverage = Estimate(0.88, 0.01, 0.9, 50, "", "floor", "x.", 0.0, against="nominal")
    evaluation = Evaluation({"psnr": psnr, "coverage": coverage}, {}, [], "v")
    assert [row[2:] for row in metrics_table(evaluation)] == [
        ("30.10 ± 0.10 dB (wavelets)", "−7.8 σ"),
        ("0.900 (nominal)", "2.0 σ"),
    ]
    file = validated / "validation" / "evaluation.json"
    content = json.loads(file.read_text())
    before = report(validated).read_text()
    content["estimates"]["radius"] |= {"against": "baseline", "baseline": "wavelets"}
    file.write_text(json.dumps(content))
    after = report(validated).read_text()
    assert "<th>floor</th><th>beyond floor</th>" in before
    assert "Baseline:" not in before
    assert "<th>held against</th><th>beyond it</th>" in after
    assert "(wavelets)</td>" in after
    assert "Baseline: the same figure of the named method" in after


def test_a_digest_says_what_it_is_of(validated):
    page = report(validated).read_text()
    for label in ("training data SHA-256 of content (all rows)", "reference SHA-256 of content (all rows)"):
        assert label in page
    assert json.loads((validated / "run.json").read_text())["data"]["sha256_of"] == "content of all rows"
