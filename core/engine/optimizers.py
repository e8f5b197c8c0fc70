"""Optimisers from their configs, and which parameters decay.

Weight decay acts on matrices and kernels alone. Parameters with less than two axes (biases, gains and shifts of
normalisations), those of torch's normalisations and embeddings, and those that a module names in `no_weight_decay` (its
learned positions, say) do not decay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn, optim

from .plan import OptimizerConfig

_NO_WEIGHTS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.Embedding)


def build(
    config: OptimizerConfig, parameters: Mapping[str, nn.Parameter], networks: Iterable[nn.Module]
) -> optim.Optimizer | None:
    """Return the optimiser, None of kind "none"; the trainer sets its learning rate before every step (`schedules`).

    `fused=True` because torch's default on a CPU loops over the parameters in Python. `sgd` takes its momentum from the
    first of `betas`; the line search of `lbfgs` meets the strong Wolfe conditions.

    Args:
        config: kind and options.
        parameters: to train, by name.
        networks: hold the parameters; they decide which ones decay.

    >>> layer = nn.Linear(2, 3)
    >>> optimizer = build(OptimizerConfig(kind="sgd", weight_decay=0.1), dict(layer.named_parameters()), [layer])
    >>> optimizer.defaults["momentum"]
    0.9
    >>> [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in optimizer.param_groups]
    [(0.1, [(3, 2)]), (0.0, [(3,)])]
    """
    if config.kind == "none":
        return None
    if config.kind == "lbfgs":
        return optim.LBFGS(parameters.values(), config.lr, line_search_fn="strong_wolfe")
    exempt = undecayed(networks)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters.values() if (id(p) in exempt) == fixed], "weight_decay": decay}
        for fixed, decay in ((False, config.weight_decay), (True, 0.0))
    ]
    groups = [group for group in groups if group["params"]]
    match config.kind:
        case "adamw":
            return optim.AdamW(groups, config.lr, config.betas, fused=True)
        case "adam":
            return optim.Adam(groups, config.lr, config.betas, fused=True)
        case "sgd":
            return optim.SGD(groups, config.lr, momentum=config.betas[0], fused=True)


def undecayed(networks: Iterable[nn.Module]) -> set[int]:
    """Ids of the parameters on which weight decay does not act.

    >>> network = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2), nn.LayerNorm(2))
    >>> exempt = undecayed([network])
    >>> [name for name, parameter in network.named_parameters() if id(parameter) not in exempt]
    ['1.weight']
    """
    found: set[int] = set()
    for module in (module for network in networks for module in network.modules()):
        for name, parameter in module.named_parameters():
            owned = "." not in name
            named = any(f"{name}.".startswith(f"{other}.") for other in getattr(module, "no_weight_decay", ()))
            if named or parameter.ndim < 2 or (owned and isinstance(module, _NO_WEIGHTS)):
                found.add(id(parameter))
    return found
