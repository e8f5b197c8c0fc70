"""Optimisers from their configs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn, optim

from .plan import OptimizerConfig


def build(config: OptimizerConfig, parameters: Sequence[nn.Parameter]) -> optim.Optimizer | None:
    """Return the optimiser, None of kind "none"; the trainer sets its learning rate before every step (`schedules`).

    `fused=True` because torch's default on a CPU loops over the parameters in Python. `sgd` takes its momentum from the
    first of `betas`; the line search of `lbfgs` meets the strong Wolfe conditions.

    >>> build(OptimizerConfig(kind="sgd", betas=(0.9, 0.99)), [nn.Parameter()]).defaults["momentum"]
    0.9
    """
    match config.kind:
        case "adamw":
            return optim.AdamW(parameters, config.lr, config.betas, weight_decay=config.weight_decay, fused=True)
        case "adam":
            return optim.Adam(parameters, config.lr, config.betas, weight_decay=config.weight_decay, fused=True)
        case "sgd":
            return optim.SGD(
                parameters, config.lr, momentum=config.betas[0], weight_decay=config.weight_decay, fused=True
            )
        case "lbfgs":
            return optim.LBFGS(parameters, config.lr, line_search_fn="strong_wolfe")
        case "none":
            return None
