"""Rows held out of a fit: the last ones, and never a part of a group that is trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from maquette.core.errors import ConfigError
from maquette.pipelines.fit import fit
from maquette.pipelines.run.held_out import last_cut
from torch import Tensor


class GroupedData(toy.ToyData):
    """Points of which those at the same multiple of 70 rows belong together."""

    @property
    def groups(self) -> Tensor:
        return torch.arange(self.first, self.first + len(self)) // 70

    def rows(self, start: int, stop: int) -> "GroupedData":
        part = super().rows(start, stop)
        return GroupedData(part.x, part.condition, part.first, part.origin)


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = toy.Toy.open

    def opened(*given: Any) -> GroupedData:
        data = plain(*given)
        return GroupedData(data.x, data.condition, data.first, data.origin)

    monkeypatch.setattr(toy.Toy, "open", opened)


def training_rows(data: Path, *words: str) -> int:
    fit("toy", data=data, out="run", overrides=["tracking=none", "training.steps=1", *words])
    return json.loads(Path("run/run.json").read_text())["data"]["training_rows"]


def test_a_fit_cuts_at_the_border_of_a_group(data: Path, folder: Path, grouped: None) -> None:
    assert training_rows(data, "data.validation=100") == 770  # 800 would divide the group of the rows 770 to 839


def test_rows_of_the_file_keep_their_groups(data: Path, folder: Path, grouped: None) -> None:
    assert training_rows(data, "data.rows=30:330", "data.validation=60") == 180  # up to row 210


def test_without_groups_just_so_many_rows_are_held_out(data: Path, folder: Path) -> None:
    assert training_rows(data, "data.validation=100") == 800


def test_groups_that_no_cut_leaves_whole_are_refused(data: Path, folder: Path, grouped: None) -> None:
    with pytest.raises(ConfigError, match="100 of 150 rows cannot be held out without parts of a group on both sides"):
        training_rows(data, "data.rows=0:150", "data.validation=100")
    assert not Path("run").exists()


@pytest.mark.parametrize("seed", range(5))
def test_the_cut_is_the_last_that_divides_no_group(seed: int) -> None:
    groups = torch.randint(9, (30,), generator=torch.Generator().manual_seed(seed)).sort().values
    groups[10:14] = groups[10:14].flip(0)  # not sorted throughout
    for first in range(1, 30):
        cuts = [n for n in range(1, first + 1) if not set(groups[:n].tolist()) & set(groups[n:].tolist())]
        assert last_cut(groups, first) == max(cuts, default=0)
