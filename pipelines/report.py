"""`maquette report`: a run's report, built again from what its folder holds."""

from __future__ import annotations

from pathlib import Path

from ..core.artifact import weights_digest
from .reporting.evaluation import FILE, read_evaluation
from .reporting.page import write_page
from .run.folder import Run, existing_run
from .run.loss_curves import save_losses


def report(run: str | Path) -> Path:
    """Rebuild a run's report from what its folder holds.

    Args:
        run: a run's folder.

    Returns:
        The HTML page.

    Raises:
        ArtifactError: not a run, or a damaged one.
    """
    found = existing_run(run)
    save_losses(found)
    write_page(found.report, _evaluated(found), found)
    return found.report


def _evaluated(run: Run) -> Path | None:
    """The folder of an evaluation of the run's model: the run's own folder, else the newest directly below it.

    Evaluations of anything else, such as the simulator, are left out.
    """
    if not run.model.is_dir():
        return None
    model = weights_digest(run.model)
    files = [run.folder / FILE, *run.folder.glob(f"*/{FILE}")]
    found = [file.parent for file in files if file.is_file() and read_evaluation(file.parent).model_sha256 == model]
    return max(found, key=lambda folder: (folder == run.folder, (folder / FILE).stat().st_mtime), default=None)
