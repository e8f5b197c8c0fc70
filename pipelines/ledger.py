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


def expect_same_data(run: Run, sha256: str) -> None:
    """Raise `ConfigError` if the run began with other data than those of this digest."""
    expected = earlier(run).get("data", {}).get("sha256")
    if expected not in (None, sha256):
        raise ConfigError(
            f"{run.folder}: the run began with other data (SHA-256 {expected[:12]}, now {sha256[:12]}); "
            "give the same file, or another --out."
        )


class Ledger:
    """Keeps `run.json`: a listener of the engine. Where a run comes from is its first session; later ones are listed.

    Args:
        run: the run's folder.
        config: its resolved config.
        facts: what only the fit knows: `data` with its SHA-256, `parameters`, `world_size`.
        device: where it runs.
    """

    def __init__(self, run: Run, config: RunConfig, facts: Mapping[str, Any], device: torch.device) -> None:
        self.run, self.config = run, config
        before = earlier(run)
        self.seconds_before = float(before.get("wall_seconds", 0.0))
        self.clock = time.monotonic()
        session = {"device": str(device), "world_size": facts["world_size"], **gather(device)}
        self.record = {
            "schema": 1,
            "domain": config.domain,
            "config_hash": config.digest(),
            "seed": config.seed,
            **facts,
            **session,
            **{key: before[key] for key in session if key in before},
            "sessions": int(before.get("sessions", 0)) + 1,
            "resumed": [*before.get("resumed", []), session] if before else [],
        }

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
