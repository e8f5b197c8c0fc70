"""Speed and memory of a fit: the only values of a loss file's row that differ between two equal fits."""

from __future__ import annotations

import resource
import sys
import time

import torch

KEYS = ("samples_per_second", "memory_gb", "seconds_left")
"""Keys of a row that a clock or the machine decides, not the fit."""


def peak_memory(device: torch.device) -> float:
    """Largest memory so far, GB: allocated on a CUDA device, else resident of this process.

    >>> peak_memory(torch.device("cpu")) > 0.01
    True
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Pace:
    """Measures one stage in this process.

    Args:
        step: steps of the stage that were taken before this process started.
        steps: planned steps of the stage.
        device: where it trains.
        seconds: how long the stage may still take, or None for as long as it needs.

    >>> pace = Pace(step=0, steps=100, device=torch.device("cpu"))
    >>> pace.add("model", samples=256)
    >>> list(pace.measure("model", step=1))
    ['samples_per_second', 'memory_gb', 'seconds_left']
    """

    def __init__(self, step: int, steps: int, device: torch.device, seconds: float | None = None) -> None:
        self.first, self.steps, self.device = step, steps, device
        self.begun = time.monotonic()
        self.deadline = None if seconds is None else self.begun + seconds
        self._since: dict[str, tuple[float, int]] = {}
        self._samples: dict[str, int] = {}

    def add(self, player: str, samples: int) -> None:
        """Count the samples of a batch over all processes."""
        self._samples[player] = self._samples.get(player, 0) + samples

    def measure(self, player: str, step: int) -> dict[str, float]:
        """Samples per second of a player since its last row, peak memory, and seconds until the stage ends."""
        now, samples = time.monotonic(), self._samples.get(player, 0)
        then, before = self._since.get(player, (self.begun, 0))
        self._since[player] = (now, samples)
        left = (self.steps - step) * (now - self.begun) / max(1, step - self.first)
        if self.deadline is not None:
            left = min(left, max(0.0, self.deadline - now))
        rate = (samples - before) / max(now - then, 1e-9)
        return dict(zip(KEYS, (round(rate, 1), round(peak_memory(self.device), 3), round(left, 1)), strict=True))
