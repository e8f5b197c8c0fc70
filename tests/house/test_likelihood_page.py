"""The code of the page on likelihoods runs as it is, and what the page says of families is true."""

import re

import pytest
from maquette.core.capabilities import capabilities
from maquette.core.families import families


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs" / "likelihood.md").read_text(encoding="utf-8")


def test_its_code_runs_from_top_to_bottom(page, capsys):
    pytest.importorskip("constriction")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    found: dict = {}
    for block in blocks:
        exec(compile(block, "likelihood.md", "exec"), found)
    assert 1.4 < found["bits"].value < 1.7  # a step of a walk takes log2(3), less where it is stopped
    assert found["gain"].mean() > 0
    assert (found["walks"][:, 1:] - found["walks"][:, :-1]).abs().max() == 1
    filled = found["found"].value
    assert ((filled[:, 1:] - filled[:, :-1]).abs() <= 1).float().mean() > 0.95
    heights = found["chain"].value[:, 1]
    assert ((heights.abs() - 1).abs() < 0.4).float().mean() > 0.9
    assert 0.1 < (heights > 0).float().mean() < 0.9
    printed = capsys.readouterr().out.splitlines()
    assert any("lower bound with 100 draws, n = 1000" in line for line in printed)


def test_the_families_it_advises_exist_and_know_a_likelihood(page):
    rows = [row for row in page.split("| data |")[1].split("\n\n")[0].splitlines() if row.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[2])} - {"base"}
    assert len(named) > 10
    for name in named:
        if ":" not in name:
            assert {"density", "bound"} & set(capabilities(families.get(name).model)), name
