"""The style of all domains' figures: colours, fonts, and a decorator that draws in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

P = ParamSpec("P")
REFERENCE, GENERATED, THIRD = "#4d4d4d", "#d55e00", "#0072b2"
"""Grey, vermilion and blue of Okabe & Ito: distinguishable with every kind of colour vision, and in print."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "figure.dpi": 110,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the package's style, without changing matplotlib's global settings.

    >>> @styled
    ... def empty() -> Figure:
    ...     return Figure()
    >>> empty().dpi  # that of `STYLE`
    110.0
    """

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    wrapped.__name__, wrapped.__doc__ = draw.__name__, draw.__doc__
    return wrapped
