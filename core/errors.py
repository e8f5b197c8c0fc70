"""Errors that users see: what was expected, what was found, how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class MaquetteError(Exception):
    """Base of every error that is shown to users without a traceback."""


class ConfigError(MaquetteError):
    """A configuration that cannot be built: unknown key, wrong type, impossible combination."""


class SpaceError(MaquetteError):
    """A tensor that is not a batch of samples of the space it was given for."""


class SampleError(MaquetteError):
    """Samples that cannot be used or compared: too few, or not finite."""


class ArtifactError(MaquetteError):
    """A file on disk that is not what it should be: truncated, of another program, or of another schema."""


class TrainingError(MaquetteError):
    """A fit that cannot go on: a loss that is not finite, a plan that cannot run as asked."""


class Interrupted(TrainingError):
    """A fit that a signal ended after its state was saved; a command exits with `EXIT_CODE` (EX_TEMPFAIL)."""

    EXIT_CODE = 75


def did_you_mean(word: str, known: Iterable[str], full_names: Mapping[str, str] | None = None) -> str:
    """Suggest the nearest known word, by its full name if it has one; an empty string if none is near.

    >>> did_you_mean("stpes", ["steps", "seed"])
    ' Did you mean "steps"?'
    """
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f' Did you mean "{(full_names or {}).get(near[0], near[0])}"?' if near else ""
