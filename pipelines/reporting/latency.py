"""How long a sample takes, drawn by itself and in a batch, compared with the program that it replaces."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import torch
from torch import Tensor

from ..console.numbers import counted
from ..load import Model
from ..run.record import LatencyRecord

LARGEST_BATCH = 1000
_SECONDS = 3.0  # spent on each figure, about
_REPEATS = 15


def measure_latency(model: Model) -> LatencyRecord:
    """Milliseconds per sample, drawn by itself and in a batch: medians over repeats.

    The batch has `LARGEST_BATCH` samples, or as many as a slow model draws in a few seconds, or as fit into memory.
    Conditions that are given, not drawn, are those of rows of the training data.

    A model that takes a millisecond for any number of samples:

    >>> from types import SimpleNamespace
    >>> domain = SimpleNamespace(reference_cost=lambda description: None)
    >>> model = SimpleNamespace(
    ...     draw=lambda index, seed, condition: time.sleep(0.001),
    ...     at_once=lambda draw, n: 1000,
    ...     domain=domain,
    ...     generator=SimpleNamespace(description={}, example_conditions=lambda index: None),
    ...     device="cpu",
    ... )
    >>> latency = measure_latency(model)
    >>> latency.single_ms >= 1, latency.batched_ms < latency.single_ms
    (True, True)
    """
    single = _milliseconds(model, 1)
    batch_size = max(1, min(LARGEST_BATCH, int(1000 * _SECONDS / single)))
    batch_size = min(batch_size, model.at_once(partial(_draw, model), batch_size))
    cost = model.domain.reference_cost(model.generator.description)
    return LatencyRecord(
        single_ms=single,
        batched_ms=_milliseconds(model, batch_size),
        batch_size=batch_size,
        device=str(model.device),
        threads=torch.get_num_threads(),
        reference=cost.name if cost else None,
        reference_ms=1000 * cost.seconds if cost else None,
    )


def latency_sentence(latency: LatencyRecord) -> str:
    """The figures as the report has them.

    >>> latency_sentence(LatencyRecord(single_ms=4.1, batched_ms=0.32, batch_size=1000, device="cpu", threads=2))
    'A sample takes 4.1 ms alone and 0.32 ms in batches of 1,000 (on cpu, 2 threads).'
    """
    text = (
        f"A sample takes {latency.single_ms:.3g} ms alone and {latency.batched_ms:.3g} ms in batches of "
        f"{latency.batch_size:,} (on {latency.device}, {counted(latency.threads, 'thread')})."
    )
    if latency.reference is None or latency.reference_ms is None:
        return text
    ratio = latency.reference_ms / latency.single_ms
    against = f"{latency.reference} ({latency.reference_ms:.3g} ms)"
    if ratio > 1:
        return f"{text} Drawn alone that is {ratio:.3g} times faster than {against}."
    return f"{text} Drawn alone that is not faster than {against}: for single samples this is no surrogate."


def _milliseconds(model: Model, n: int) -> float:
    """Per sample of a batch of n; the first batch, which warms up, counts only if there is no time for another."""
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while not times or (time.perf_counter() < end and len(times) <= _REPEATS):
        index = torch.arange(n) + len(times) * n
        begun = time.perf_counter()
        _draw(model, index)  # ends on the CPU, so a GPU is waited for
        times.append(time.perf_counter() - begun)
    return 1000 * median(times[1:] or times) / n


def _draw(model: Model, index: Tensor) -> None:
    model.draw(index, 0, model.generator.example_conditions(index))
