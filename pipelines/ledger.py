"""`run.json`: where a run comes from and how far it is, kept true also of a fit that is killed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from ..core.errors import ConfigError
from .atomic import read_json, write_json, write_text
from .config import RunConfig
from .paths import Run
from .provenance import gather, now


def earlier(run: Run) -> dict[str, Any]:
    """What an earlier session wrote of the run; empty if there was none."""
    return read_json(run.provenance) if run.provenance.is_file() else {}


class Ledger:
    """Keeps `run.json`: a listener of the engine.

    Args:
        run: the run's folder.
        config: its resolved config.
        facts: what only the fit knows: `data` with its SHA-256, `parameters`, `world_size`.
        device: where it runs.

    Raises:
        ConfigError: the run began with other data.
    """

    def __init__(self, run: Run, config: RunConfig, facts: Mapping[str, Any], device: torch.device) -> None:
        self.run, self.config = run, config
        before = earlier(run)
        self.seconds_before = float(before.get("wall_seconds", 0.0))
        self.clock = time.monotonic()
        self.record = {
            "schema": 1,
            "domain": config.domain,
            "config_hash": config.digest(),
            "seed": config.seed,
            **facts,
            "device": str(device),
            "sessions": int(before.get("sessions", 0)) + 1,
            **gather(device),
        }
        found, expected = facts["data"]["sha256"], before.get("data", {}).get("sha256")
        if expected not in (None, found):
            raise ConfigError(
                f"{run.folder}: the run began with other data (SHA-256 {expected[:12]}, now {found[:12]}); "
                "give the same file, or another --out."
            )

    def begin(self) -> None:
        write_text(self.run.config, self.config.to_yaml())
        self._write(status="running")

    def end(self, **facts: Any) -> None:
        """Close the record with what is known only now."""
        self._write(status="finished", finished=now(), **facts)

    def row(self, row: Mapping[str, Any]) -> None:
        pass

    def stage(self, name: str, steps: int) -> None:
        pass

    def checkpoint(self, step: int) -> None:
        self._write(status="running")

    def _write(self, **more: Any) -> None:
        seconds = self.seconds_before + time.monotonic() - self.clock
        write_json(self.run.provenance, self.record | {"wall_seconds": round(seconds, 3)} | more)
