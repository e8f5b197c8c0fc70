"""How long a sample takes, drawn alone and in bulk: what decides whether a surrogate is worth having."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from .load import Model
from .wording import counted

BULK = 1000
_SECONDS = 3.0  # spent on each figure, about
_REPEATS = 15


def measure(model: Model) -> dict[str, Any]:
    """Milliseconds per sample drawn alone and in bulk, medians over repeats; where, and what is replaced.

    In bulk means `BULK` at once, or as many as a slow model draws in a few seconds.
    """
    alone = _milliseconds(model, 1)
    bulk = max(1, min(BULK, int(1000 * _SECONDS / alone)))
    record: dict[str, Any] = {
        "alone_ms": alone,
        "bulk_ms": _milliseconds(model, bulk),
        "bulk": bulk,
        "device": str(model.device),
        "threads": torch.get_num_threads(),
    }
    if cost := model.domain.reference_cost(model.generator.description):
        record["reference"], record["reference_ms"] = cost.name, 1000 * cost.seconds
    return record


def sentence(record: dict[str, Any]) -> str:
    """The record as the report says it."""
    where = f"on {record['device']}, {counted(record['threads'], 'thread')}"
    text = f"A sample takes {record['alone_ms']:.3g} ms alone and {record['bulk_ms']:.3g} ms in batches of "
    text += f"{record['bulk']:,} ({where})."
    if "reference" in record:
        ratio = record["reference_ms"] / record["alone_ms"]
        against = f"{record['reference']} ({record['reference_ms']:.3g} ms)"
        text += (
            f" Drawn alone that is {ratio:.3g} times faster than {against}."
            if ratio > 1
            else f" Drawn alone that is not faster than {against}: for single samples this is no surrogate."
        )
    return text


def _milliseconds(model: Model, n: int) -> float:
    """Per sample of a batch of n; the first batch, which warms up, counts only if there is no time for another."""
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while not times or (time.perf_counter() < end and len(times) <= _REPEATS):
        index = torch.arange(n) + len(times) * n
        begun = time.perf_counter()
        model.draw(index, seed=0)  # ends on the CPU, so a GPU is waited for
        times.append(time.perf_counter() - begun)
    return 1000 * median(times[1:] or times) / n
