"""Optimisers from their configs, and learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn, optim

from .plan import OptimizerConfig


def build(config: OptimizerConfig, parameters: Sequence[nn.Parameter]) -> optim.Optimizer:
    """Return the optimiser; its learning rate is set before every step from `rate`.

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


def rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of step 0 .. steps - 1: linear warm-up, then constant or half a cosine."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (step - config.warmup) / max(1, steps - 1 - config.warmup))
    return config.lr * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress)))
