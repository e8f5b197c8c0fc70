"""Lossless compression with a model of discrete numbers: as many bits as its negative log2-likelihood, and a few more.

The conditionals of an autoregressive model are what an entropy coder asks for: the law of the next number given those
that are known already (Shannon, Bell Syst. Tech. J. 27 (1948) 379). The coder is asymmetric numeral systems (Duda,
arXiv:1311.2540) as in `constriction` (Bamler, arXiv:2201.01741). It is a stack, last in, first out: a writer gathers
the laws of all numbers, then pushes the last number first; a reader pops them in the model's order.

A law that differs in its last bit between writing and reading would garble all that follows. Both therefore take the
very same steps, number by number and for the whole batch, also where a writer could know all laws at once; and an
archive holds a digest of its content, so that another model, batch size or machine arithmetic is an error and never a
wrong answer. Read an archive with the model, the device and the number of threads that wrote it.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..capabilities import Conditionals
from ..errors import ArtifactError, SpaceError
from ..likelihoods import Discrete
from ..samplers.ancestral import ancestral
from ..spaces import Binary, Levels, Tree, batch_size
from .stepwise import blank, steps

_MAGIC = b"MQCZ\x03"
_HEADER = struct.Struct("<5sIII8s")  # magic and version, samples, numbers of one, levels of a number, digest
HEADER = _HEADER.size
"""Bytes of an archive that are not code."""
LIMIT = 2**27
"""Probabilities that a writer may hold: levels of every number of every sample, four bytes each.

A reader keeps to it, too: a header is not to be believed, and a code of a few bytes may stand for any samples.
"""

_Code = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""code(numbers (B,), their laws (B, levels)) -> numbers (B,)."""


@torch.no_grad()
def compress(model: Conditionals, x: Tree, condition: Tree | None = None) -> bytes:
    """Write samples as an archive.

    Args:
        model: of binary or integer numbers.
        x: samples, leading axis B, at least one. A batch is one archive, and the laws of all its numbers are in memory
            at a time: cut large data into batches.
        condition: one row per sample; not part of the archive.

    Raises:
        SpaceError: a model of real numbers, or samples that are none of its levels.
        ModuleNotFoundError: the package `constriction` is not installed.
    """
    levels, coder = _levels(model), _constriction().stream
    rows = model.layout.flatten(x)
    n, numbers = rows.shape
    most = _most(numbers, levels)
    if not 0 < n <= most:
        raise SpaceError(
            f"x: expected 1 to {most} samples of {numbers} numbers of {levels} levels, found {n}; "
            "write more into several archives."
        )
    if not bool(((rows == rows.round()) & (rows >= 0) & (rows < levels)).all()):
        raise SpaceError(f"x: expected whole numbers from 0 to {levels - 1}, found others.")
    encoder, family = coder.stack.AnsCoder(), coder.model.Categorical(perfect=False)
    gathered: list[tuple[np.ndarray, np.ndarray]] = []

    def gather(known: np.ndarray, laws: np.ndarray) -> np.ndarray:
        gathered.append((known, laws))
        return known

    _walk(model, rows, condition, gather)
    for known, laws in reversed(gathered):
        encoder.encode_reverse(known, family, laws)
    words = encoder.get_compressed().astype("<u4").tobytes()
    return _HEADER.pack(_MAGIC, n, numbers, levels, _digest(rows, words)) + words


@torch.no_grad()
def decompress(model: Conditionals, archive: bytes, condition: Tree | None = None) -> Tree:
    """Read the samples of an archive: those that were written, to the bit.

    Args:
        model: the one that wrote it.
        archive: what `compress` returned.
        condition: what was given when writing.

    Raises:
        ArtifactError: no archive, a damaged one, one of other samples than the model's, or of another model.
        SpaceError: a model of real numbers, or a condition that is not one row per sample.
        ModuleNotFoundError: the package `constriction` is not installed.
    """
    levels, coder = _levels(model), _constriction().stream
    n, digest, words = _read(archive, model.layout.features, levels)
    if condition is not None and batch_size(condition) != n:
        raise SpaceError(f"condition: expected {n} rows, one per sample of the archive, found {batch_size(condition)}.")
    decoder, family = coder.stack.AnsCoder(words), coder.model.Categorical(perfect=False)
    rows = _walk(model, blank(model, n), condition, lambda _, laws: decoder.decode(family, laws))
    if _digest(rows, archive[HEADER:]) != digest:
        raise ArtifactError(
            "archive: its content does not match its digest; read it with the model, the conditions, the device and "
            "the number of threads that wrote it, or copy it again."
        )
    return model.layout.unflatten(rows)


def _walk(model: Conditionals, rows: Tensor, condition: Tree | None, code: _Code) -> Tensor:
    """Code rows (B, D) number by number, each under its law given those before it; the rows that come out of it."""
    law: Discrete = model.likelihood

    def number(parameters: Tensor, known: Tensor) -> Tensor:
        laws = law.log_masses(parameters.double()).exp().float().cpu().numpy()
        coded = code(known.cpu().numpy().astype(np.int32), laws)
        return torch.from_numpy(coded.astype(np.int64)).to(rows)

    # as the model draws them, whatever dtype they were given in
    in_order = rows.to(blank(model, 0))[:, model.order]
    return ancestral(steps(model, len(rows), condition), number, in_order)[:, model.order.argsort()]


def _levels(model: Conditionals) -> int:
    """Levels of a number; raises `SpaceError` for a model of real ones."""
    match model.layout.support:
        case Binary():
            return 2
        case Levels(count=count):
            return count
        case support:
            raise SpaceError(f"model: only whole numbers can be compressed without loss, found {support.kind} ones.")


def _digest(rows: Tensor, words: bytes) -> bytes:
    """Of the numbers and of their code: what follows a code would be read by none."""
    return hashlib.blake2b(rows.cpu().numpy().astype("<i8").tobytes() + words, digest_size=8).digest()


def _read(archive: bytes, numbers: int, levels: int) -> tuple[int, bytes, np.ndarray]:
    """Samples, digest and words of an archive; raises `ArtifactError`."""
    if len(archive) < HEADER or not archive.startswith(_MAGIC) or (len(archive) - HEADER) % 4:
        raise ArtifactError(f"archive: not a whole archive of this version ({len(archive)} bytes); copy it again.")
    _, n, *found, digest = _HEADER.unpack_from(archive)
    if found != [numbers, levels]:
        raise ArtifactError(
            f"archive: expected samples of {numbers} numbers of {levels} levels, found {found[0]} of {found[1]}; "
            "read it with the model that wrote it."
        )
    most = _most(numbers, levels)
    if not 0 < n <= most:
        raise ArtifactError(f"archive: expected 1 to {most} samples of {numbers} numbers, its header says {n}.")
    words = np.frombuffer(archive, "<u4", offset=HEADER).astype(np.uint32)
    if words.size and not words[-1]:
        raise ArtifactError("archive: its code ends in a zero word, which no code does; copy it again.")
    return n, digest, words


def _most(numbers: int, levels: int) -> int:
    """Samples that an archive may hold."""
    return max(1, LIMIT // (numbers * levels))


def _constriction() -> Any:
    try:
        import constriction
    except ModuleNotFoundError as error:
        told = f"compression needs constriction: {sys.executable} -m pip install constriction"
        raise ModuleNotFoundError(told, name=error.name) from None
    return constriction
