"""The campaign of measurements on a GPU: every entry takes two steps here, on small files of the same form."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from maquette.domains import domains
from maquette.domains.calorimeter import evaluate
from maquette.pipelines.reporting import latency
from maquette.pipelines.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def campaign():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu_campaign

        yield gpu_campaign
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def data(campaign, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for file in (campaign.EPLUS, campaign.DS2, campaign.MNIST, campaign.TEXT):
        (folder / file).parent.mkdir(exist_ok=True)
    shutil.copy(domains.get("calorimeter").sample_path(), folder / campaign.EPLUS)
    simulate("calorimeter", n=40, seed=0, out=folder / campaign.DS2, overrides=["geometry=ds2"])
    bits = np.random.default_rng(0).integers(0, 256, (40, 98), dtype=np.uint8)
    np.savez(folder / campaign.MNIST, train=bits, valid=bits, test=bits)
    (folder / campaign.TEXT).write_text("to be or not to be, " * 100)
    return folder


@pytest.fixture
def judged(campaign, no_drawing, monkeypatch):
    """Calls of `validate`: the first judges, the others return what it found."""
    from campaign import showers

    validate, calls, found = showers.validate, [], []

    def once(domain, **words):
        calls.append(words)
        if not found:
            found.append(validate(domain, **words))
        return found[0]

    monkeypatch.setattr(showers, "validate", once)
    monkeypatch.setattr(evaluate, "figures", lambda gallery: {})
    return calls


def test_every_entry_runs_once_and_leaves_figures(campaign, data, judged, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency, "_SECONDS", 0.0)
    words = ["--device", "cpu", "--data", str(data), "--out", str(tmp_path)]
    campaign.main(words)
    results = tmp_path / "dry" / "figures.jsonl"
    written = results.read_text()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in written.splitlines()]
    assert {row["entry"] for row in rows} == {entry.name for entry in campaign.ENTRIES}
    wanted = {"name", "value", "unit", "n", "stderr", "floor", "hardware", "seconds", "command", "commit"}
    assert all(wanted <= set(row) and np.isfinite(row["value"]) for row in rows)
    for entry, words_of in zip(("gpu", "gpu-distilled", "gpu-ds2"), judged, strict=True):
        assert words_of["generated"].parent.name == entry
        assert words_of["generated"].is_file()
        assert {"sampling", "auc_low", "fpd"} <= {row["name"] for row in rows if row["entry"] == entry}
    assert (tmp_path / "dry" / "gpu" / "validation" / "report.html").is_file()
    capsys.readouterr()
    campaign.main([*words, "--rows"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(rows)
    campaign.main(words)  # all is done
    assert results.read_text() == written


def test_what_lacks_data_or_time_is_passed_over_in_a_sentence(campaign, tmp_path, capsys, monkeypatch):
    words = ["--device", "cpu", "--data", str(tmp_path), "--out", str(tmp_path), "--only", "gpu"]
    campaign.main(words)
    assert f"gpu: passed over, since {tmp_path} lacks {campaign.EPLUS}." in capsys.readouterr().out
    campaign.main(["--device", "cuda", *words[2:-1], "noise", "--budget", "1"])
    assert "noise: passed over; it takes 2 minutes, 1.0 are left." in capsys.readouterr().out


def test_a_pack_holds_the_next_entries_and_no_more_than_it_may(campaign, data, tmp_path, monkeypatch):
    from campaign import packing

    packed = packing.pack(tmp_path / "all", campaign.ENTRIES, data, None)
    assert packed == [entry.name for entry in campaign.ENTRIES]
    assert (tmp_path / "all" / "data" / campaign.DS2).read_bytes() == (data / campaign.DS2).read_bytes()
    assert (tmp_path / "all" / "maquette" / "core" / "noise.py").is_file()
    size = sum(file.stat().st_size for file in (tmp_path / "all").rglob("*") if file.is_file())
    without = size - (data / campaign.EPLUS).stat().st_size
    monkeypatch.setattr(packing, "LARGEST", without + 10_000)
    packed = packing.pack(tmp_path / "some", campaign.ENTRIES, data, None)
    assert "gpu" not in packed
    assert "gpu-ds2" in packed
    with pytest.raises(SystemExit, match="expected an empty folder"):
        packing.pack(tmp_path / "some", campaign.ENTRIES, data, None)


def test_a_pack_passes_over_entries_whose_data_are_not_there(campaign, data, tmp_path):
    from campaign import packing

    (tmp_path / campaign.TEXT).parent.mkdir()
    shutil.copy(data / campaign.TEXT, tmp_path / campaign.TEXT)
    entries = [entry for entry in campaign.ENTRIES if entry.name in ("gpu", "text-recurrent", "noise")]
    assert packing.pack(tmp_path / "pack", entries, tmp_path, None) == ["text-recurrent", "noise"]
    assert "--only text-recurrent --only noise" in (tmp_path / "pack" / "run.sh").read_text()
