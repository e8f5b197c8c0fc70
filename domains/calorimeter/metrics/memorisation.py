"""The fraction of generated showers that look like copies of training showers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ....core.data import Source
from ....core.statistics.comparison import GROUPS
from ....data_specs.calorimeter.geometry import Geometry
from ...judging import memorisation as judging
from ...judging.classification import Inputs
from ...judging.comparison import Estimates
from ...plugin import Unavailable
from .comparison import Comparison
from .effort import ShowerEffort
from .features import block_size, evenly_spaced, low_level, read


def memorisation(
    c: Comparison,
    voxels: Inputs,
    training: Source | Unavailable,
    effort: ShowerEffort,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Estimates:
    """Fraction of generated showers that are suspiciously near to a training shower.

    Args:
        c: the comparison; its reference must be held out from the training showers.
        voxels: maps (side, indices) to the features that are compared, (n, V + 1).
        training: the showers the generator was fitted to, read in blocks, or why they are missing.
        effort: sizes.
        progress: called as progress(training showers done, all of them).
    """
    geometry = c.extractor.geometry
    blocks = training if isinstance(training, Unavailable) else _blocks(training, effort, geometry, progress)
    known = 0 if isinstance(training, Unavailable) else len(training)
    return {
        "memorisation": judging.memorisation(
            c.halves,
            voxels,
            blocks,
            n=min(effort.neighbours, max(effort.voxels // (3 * geometry.n_voxels), GROUPS)),
            things="showers",
            space="voxels / E",
            searched=lambda count: f"{count:,} of the {known:,}",
        )
    }


def _blocks(
    training: Source, effort: ShowerEffort, geometry: Geometry, progress: Callable[[int, int], None]
) -> Iterator[NDArray[np.float32]]:
    """The features of some training showers, evenly spaced."""
    pool = evenly_spaced(len(training), effort.training)
    block = block_size(geometry.n_voxels)
    for start in range(0, len(pool), block):
        yield low_level(*read(training, pool[start : start + block], geometry.effective_threshold))
        progress(min(start + block, len(pool)), len(pool))
