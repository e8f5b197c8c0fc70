"""Loss curves: a panel per stage, and nothing but losses in it."""

from maquette.pipelines.run.folder import Run
from maquette.pipelines.run.loss_curves import draw_losses, read_losses, save_losses

ROWS = [
    {"stage": "a", "player": "model", "step": 5, "loss": 2.0, "lr": 1e-3, "samples_per_second": 9e4, "memory_gb": 0.5},
    {"stage": "a", "player": "evaluation", "step": 5, "held_out/a/model": 2.5, "held_out/b/critic": 3.0},
    {"stage": "b", "player": "critic", "step": 5, "loss": 1.0, "seconds_left": 3.0},
    {"stage": "b", "player": "critic", "step": 10, "loss": 0.5},
]


def test_curves_are_those_of_losses():
    panels = draw_losses(ROWS).axes
    curves = {
        panel.get_title(): {line.get_label(): line.get_xydata().tolist() for line in panel.lines} for panel in panels
    }
    assert curves == {
        "a": {"model": [[5.0, 2.0]], "model, held out": [[5.0, 2.5]]},
        "b": {"critic": [[5.0, 1.0], [10.0, 0.5]]},
    }


def test_a_last_line_that_was_cut_is_left_out(folder):
    (folder / "losses.jsonl").write_text('{"stage": "a", "player": "m", "step": 1, "loss": 2.0}\n{"stage": "a", "pl')
    assert [row["step"] for row in read_losses(Run(folder))] == [1]
    assert read_losses(Run(folder / "none")) == []
    assert save_losses(Run(folder / "none")) is None
