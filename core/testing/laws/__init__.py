"""The laws of generative models: checks that any family inherits by what its models can do.

A family's own test is one parametrised function, for a third party's family too:

    from maquette.core.testing.bench import cases
    from maquette.core.testing.laws import LAWS, applicable

    @pytest.mark.parametrize(("law", "space", "condition"), [
        (law, *case) for case in cases(MyConfig()) for law in applicable(MyConfig(), *case)
    ])
    def test_law(law, space, condition):
        LAWS[law].check(MyConfig(), space, condition)

All run in float64, on small models whose parameters were shaken out of their start (many networks start as the zero
function, where nothing could fail). A family declares in `FamilyConfig.tolerance` how exact it claims to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from ...capabilities import capabilities
from ...families import FamilyConfig
from ...layout import parts
from ...objective import Trainable
from ...spaces import Binary, Levels, Space, size, support_of
from ..bench import all_states
from .autoregressive import check_causal, check_compression, check_conditionals
from .codebooks import check_straight_through
from .declaration import check_declaration, check_saving
from .density import check_bound, check_elbo, check_estimate, check_log_prob, check_normalised, check_sample_density
from .invertible import check_inverse, check_log_det
from .sampling import check_sample, check_sample_condition, check_sample_rows
from .training import check_gradients, check_losses, check_purity


@dataclass(frozen=True)
class Law:
    """A check, and what a model must be able to do to owe it.

    Attributes:
        check: raises AssertionError, with what is wrong, if the law is broken.
        needs: capabilities, as named in `capabilities.PROTOCOLS`, and "train" for a `Trainable`.
        where: which spaces the law is made for.
    """

    check: Callable[[FamilyConfig, Space, Space | None], None]
    needs: tuple[str, ...] = ()
    where: Callable[[Space], bool] = lambda space: True


def _summable(space: Space) -> bool:
    """Whether all states, or a plane, can be summed over."""
    return size(space) == 2 or all_states(space) is not None


def _compressible(space: Space) -> bool:
    """Whether numbers are whole ones, and the coder is installed."""
    whole = all(isinstance(support_of(part), Binary | Levels) for _, part in parts(space))
    return whole and find_spec("constriction") is not None


def _enumerable(space: Space) -> bool:
    return all_states(space) is not None and size(space) <= 5


LAWS: dict[str, Law] = {
    "declaration": Law(check_declaration),
    "saving": Law(check_saving),
    "sample": Law(check_sample, ("sample",)),
    "sample-rows": Law(check_sample_rows, ("sample",)),
    "sample-condition": Law(check_sample_condition, ("sample",)),
    "log-prob": Law(check_log_prob, ("density",)),
    "normalised": Law(check_normalised, ("density",), where=_summable),
    "sample-density": Law(check_sample_density, ("sample", "density"), where=_summable),
    "estimate": Law(check_estimate, ("density", "estimate")),
    "bound": Law(check_bound, ("bound",), where=_enumerable),
    "elbo": Law(check_elbo, ("bound", "elbo")),
    "causal": Law(check_causal, ("conditionals",)),
    "conditionals": Law(check_conditionals, ("conditionals", "density", "sample")),
    "compression": Law(check_compression, ("conditionals", "density", "sample"), where=_compressible),
    "inverse": Law(check_inverse, ("density", "encode")),
    "log-det": Law(check_log_det, ("density", "encode")),
    "straight-through": Law(check_straight_through, ("quantise",)),
    "gradients": Law(check_gradients, ("train",)),
    "purity": Law(check_purity, ("train",)),
    "losses": Law(check_losses, ("train",)),
}


def applicable(config: FamilyConfig, space: Space, condition: Space | None = None) -> list[str]:
    """Names of the laws that the family's model of this space owes."""
    model = config.build(space, condition)
    able = {*capabilities(model), *(("train",) if isinstance(model, Trainable) else ())}
    return [name for name, law in LAWS.items() if able >= {*law.needs} and law.where(space)]
