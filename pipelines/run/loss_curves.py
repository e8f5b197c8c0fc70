"""The loss curves of a run as a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..files import write_png
from .folder import Run

LOSSES = "losses.png"


def read_losses(run: Run) -> list[dict[str, Any]]:
    """The rows of the loss file; a last line that a kill cut short is left out.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "losses.jsonl").write_text('{"step": 1, "loss": 0.5}\\n{"step": 2, "lo')
    ...     read_losses(Run(Path(folder)))
    [{'step': 1, 'loss': 0.5}]
    """
    if not run.losses.is_file():
        return []
    rows = []
    for line in run.losses.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def draw_losses(rows: list[dict[str, Any]]) -> Figure:
    """One panel per stage, with a curve per player, and one more where it has a held-out loss.

    Args:
        rows: of the loss file; everything else in them is ignored.

    >>> draw_losses([{"stage": "flow", "player": "model", "step": step, "loss": 1 / step} for step in (1, 2)]).axes
    [<Axes: title={'center': 'flow'}, xlabel='optimiser step', ylabel='loss'>]
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        stage, step = row["stage"], row["step"]
        if "loss" in row:
            curves[stage][row["player"]].append((step, row["loss"]))
        held_out = f"held_out/{stage}/"
        for name, value in row.items():
            if name.startswith(held_out):
                curves[stage][f"{name.removeprefix(held_out)}, held out"].append((step, value))
    figure = Figure(figsize=(4.8 * max(1, len(curves)), 3.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(curves)), squeeze=False)[0]
    for panel, (stage, players) in zip(panels, curves.items(), strict=False):
        for player, points in players.items():
            steps, losses = zip(*points, strict=True)
            panel.plot(steps, losses, linewidth=1, label=player)
        panel.set(title=stage, xlabel="optimiser step", ylabel="loss")
        panel.grid(alpha=0.25)
        if len(players) > 1:
            panel.legend(frameon=False)
    return figure


def save_losses(run: Run) -> Path | None:
    """Write the loss curves into the run's figures; None if it has no losses yet.

    >>> save_losses(Run(Path("runs/a"))) is None
    True
    """
    rows = read_losses(run)
    if not rows:
        return None
    write_png(run.figures / LOSSES, draw_losses(rows))
    return run.figures / LOSSES
