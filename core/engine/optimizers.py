"""Optimisers from their configs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn, optim

from .plan import OptimizerConfig


def build(config: OptimizerConfig, parameters: Sequence[nn.Parameter]) -> optim.Optimizer:
    """Return the optimiser; its learning rate is set before every step, see `schedules`.

    Fused kernels are asked for by name: the default on a CPU is one Python-level loop over parameters. `sgd` takes
    its momentum from the first of `betas`; `lbfgs` searches its line by the strong Wolfe conditions.
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
