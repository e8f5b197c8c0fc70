"""The laws of generative models: checks that any family inherits by what its models can do.

A family's own test is one parametrised function, for a third party's family too:

    from maquette.core.testing.laws import LAWS, owed

    @pytest.mark.parametrize(("law", "space", "condition"), owed(MyConfig()))
    def test_law(law, space, condition):
        LAWS[law].check(MyConfig(), space, condition)

All run in float64, on small models whose parameters are moved away from their initial values (many networks start as
the zero function, which breaks no law). A family declares in `FamilyConfig.tolerance` how exact it claims to be.
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
from ..bench import all_states, shared
from ..cover import cases
from .autoregressive import check_causal, check_compression, check_conditionals
from .codebooks import check_straight_through
from .declaration import check_declaration, check_saving
from .density import check_bound, check_elbo, check_estimate, check_log_prob, check_normalised, check_sample_density
from .energy import check_energy, check_energy_density, check_energy_gradient
from .invertible import check_inverse, check_log_det
from .resizing import check_at
from .sampling import check_sample, check_sample_condition, check_sample_index
from .steering import check_sampler
from .training import check_gradients, check_losses, check_purity
from .velocity import check_denoise, check_velocity


@dataclass(frozen=True)
class Law:
    """A check, and what a model must be able to do to owe it.

    Attributes:
        check: raises AssertionError, with what is wrong, if the law is broken.
        needs: capabilities, as named in `capabilities.PROTOCOLS`, and "train" for a `Trainable`.
        where: the spaces of samples and conditions that the law is made for.
        once: whether one case without a condition and one with are enough.

    A law of one's own, which a flow breaks:

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> from maquette.core.spaces import Vector
    >>> from maquette.core.testing.bench import keyed
    >>> def check_positive(config, space, condition):
    ...     model = shared(config, space, condition)
    ...     assert (model.sample(9, noise=keyed(9)) > 0).all(), "samples are not positive"
    >>> Law(check_positive, needs=("sample",)).check(LinearConfig(), Vector(dim=2), None)
    Traceback (most recent call last):
    AssertionError: samples are not positive
    """

    check: Callable[[FamilyConfig, Space, Space | None], None]
    needs: tuple[str, ...] = ()
    where: Callable[[Space, Space | None], bool] = lambda space, condition: True
    once: bool = False


def _conditional(space: Space, condition: Space | None) -> bool:
    return condition is not None


def _summable(space: Space, condition: Space | None) -> bool:
    """Whether the space is a plane, or all its states can be listed."""
    return size(space) == 2 or all_states(space) is not None


def _compressible(space: Space, condition: Space | None) -> bool:
    """Whether the space is discrete, and the coder is installed."""
    discrete = all(isinstance(support_of(part), Binary | Levels) for _, part in parts(space))
    return discrete and find_spec("constriction") is not None


def _low_dimensional(space: Space, condition: Space | None) -> bool:
    return size(space) <= 2


def _continuous(space: Space, condition: Space | None) -> bool:
    return not any(isinstance(support_of(part), Binary | Levels) for _, part in parts(space))


def _few_states(space: Space, condition: Space | None) -> bool:
    return all_states(space) is not None and size(space) <= 5


LAWS: dict[str, Law] = {
    "declaration": Law(check_declaration, once=True),
    "saving": Law(check_saving, once=True),
    "sample": Law(check_sample, ("sample",)),
    "sample-index": Law(check_sample_index, ("sample",)),
    "sample-condition": Law(check_sample_condition, ("sample",), where=_conditional),
    "log-prob": Law(check_log_prob, ("density",)),
    "normalised": Law(check_normalised, ("density",), where=_summable),
    "sample-density": Law(check_sample_density, ("sample", "density"), where=_summable),
    "estimate": Law(check_estimate, ("density", "estimate")),
    "bound": Law(check_bound, ("bound",), where=_few_states),
    "elbo": Law(check_elbo, ("bound", "elbo")),
    "causal": Law(check_causal, ("conditionals",)),
    "conditionals": Law(check_conditionals, ("conditionals", "density", "sample")),
    "compression": Law(check_compression, ("conditionals", "density", "sample"), where=_compressible),
    "inverse": Law(check_inverse, ("density", "encode")),
    "log-det": Law(check_log_det, ("density", "encode")),
    "energy": Law(check_energy, ("energy",)),
    "energy-density": Law(check_energy_density, ("energy", "density")),
    "energy-gradient": Law(check_energy_gradient, ("energy",), where=_continuous),
    "velocity": Law(check_velocity, ("velocity", "density", "encode"), where=_low_dimensional),
    "denoise": Law(check_denoise, ("denoise", "velocity")),
    "sampler": Law(check_sampler, ("sampler", "sample"), once=True),
    "at": Law(check_at, ("at", "sample"), once=True),
    "straight-through": Law(check_straight_through, ("quantise",)),
    "gradients": Law(check_gradients, ("train",)),
    "purity": Law(check_purity, ("train",)),
    "losses": Law(check_losses, ("train",)),
}


def applicable(config: FamilyConfig, space: Space, condition: Space | None = None) -> list[str]:
    """Names of the laws that the family's model of this space owes.

    >>> from maquette.core.families.gan.gan import GANConfig
    >>> from maquette.core.spaces import Vector
    >>> applicable(GANConfig(), Vector(dim=2))
    ['declaration', 'saving', 'sample', 'sample-index', 'gradients', 'purity', 'losses']
    """
    model = shared(config, space, condition)
    able = {*capabilities(model), *(("train",) if isinstance(model, Trainable) else ())}
    return [name for name, law in LAWS.items() if able >= {*law.needs} and law.where(space, condition)]


def owed(config: FamilyConfig, *, full: bool = False) -> list[tuple[str, Space, Space | None]]:
    """All that a family is tried on: laws, each with a space and a condition; `full` as in `cover.cases`.

    >>> from maquette.core.families.flows.linear import LinearConfig
    >>> law, space, condition = owed(LinearConfig())[0]
    >>> LAWS[law].check(LinearConfig(), space, condition)
    """
    found: list[tuple[str, Space, Space | None]] = []
    done = set[tuple[str, bool]]()
    for space, condition in cases(config, full=full):
        for name in applicable(config, space, condition):
            turn = name, condition is None
            if full or not LAWS[name].once or turn not in done:
                found.append((name, space, condition))
                done.add(turn)
    return found
