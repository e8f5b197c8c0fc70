"""Lossless compression with a model of discrete features, in little more bits than its negative log2-likelihood.

An entropy coder needs the distribution of the next symbol given those before it (Shannon, Bell Syst. Tech. J. 27, 379,
1948): the conditionals of an autoregressive model. The coder is asymmetric numeral systems (Duda, arXiv:1311.2540), as
implemented in `constriction` (Bamler, arXiv:2201.01741). It is a stack: last in, first out. The encoder collects the
probabilities of all features, then pushes the last feature first; the decoder pops the features in the model's order.

If a probability differed in its last bit between encoding and decoding, all that follows would be corrupt. So both
compute the same steps, feature by feature for the whole batch, although the encoder could compute all probabilities at
once. An archive holds a digest of its content: if another model, batch size or machine computes other probabilities,
decoding is an error and never a wrong answer. Read an archive with the model, the device and the number of threads that
wrote it.
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
from ..spaces import Tree, batch_size
from .stepwise import blank_samples, steps

_MAGIC = b"MQCZ\x03"
_HEADER = struct.Struct("<5sIII8s")  # magic and version, samples, features, levels, digest
HEADER = _HEADER.size
"""Bytes of an archive before its code."""
LIMIT = 2**27
"""Largest number of probabilities that the encoder may hold: samples x features x levels, four bytes each.

The decoder refuses larger archives, too, because their header may be damaged.
"""

_Code = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""code(values (B,), their probabilities (B, levels)) -> values (B,)."""


@torch.no_grad()
def compress(model: Conditionals, x: Tree, condition: Tree | None = None) -> bytes:
    """Write samples as an archive.

    Args:
        model: of binary features or integer levels.
        x: samples, leading axis B, at least one. They become one archive, and all their probabilities are in memory at
            once: cut large data into batches.
        condition: one row per sample; not part of the archive.

    Raises:
        SpaceError: a model of real features, values that are not levels of the model, or too many samples.
        ModuleNotFoundError: the package `constriction` is not installed.

    >>> from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
    >>> from maquette.core.spaces import Binary, Vector
    >>> model = FVSBNConfig().build(Vector(dim=8, support=Binary()))
    >>> x = torch.ones(16, 8)
    >>> archive = compress(model, x)
    >>> torch.equal(decompress(model, archive), x), 8 * (len(archive) - HEADER)  # bits, a multiple of 32
    (True, 160)
    """
    levels, coder = _levels(model), _constriction().stream
    flat = model.layout.flatten(x)
    n, features = flat.shape
    most = _most_samples(features, levels)
    if not 0 < n <= most:
        raise SpaceError(
            f"x: expected 1 to {most} samples of {features} features of {levels} levels, found {n}; "
            "write more into several archives."
        )
    if not bool(((flat == flat.round()) & (flat >= 0) & (flat < levels)).all()):
        raise SpaceError(f"x: expected whole numbers from 0 to {levels - 1}, found others.")
    encoder, family = coder.stack.AnsCoder(), coder.model.Categorical(perfect=False)
    collected: list[tuple[np.ndarray, np.ndarray]] = []

    def collect(values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        collected.append((values, probabilities))
        return values

    _code_samples(model, flat, condition, collect)
    for values, probabilities in reversed(collected):
        encoder.encode_reverse(values, family, probabilities)
    words = encoder.get_compressed().astype("<u4").tobytes()
    return _HEADER.pack(_MAGIC, n, features, levels, _digest(flat, words)) + words


@torch.no_grad()
def decompress(model: Conditionals, archive: bytes, condition: Tree | None = None) -> Tree:
    """Read the samples of an archive, exactly those that were written.

    Args:
        model: the one that wrote it.
        archive: what `compress` returned.
        condition: the one given to `compress`.

    Raises:
        ArtifactError: no archive, a damaged one, one of other samples than the model's, or of another model.
        SpaceError: a model of real features, or a condition that is not one row per sample.
        ModuleNotFoundError: the package `constriction` is not installed.
    """
    levels, coder = _levels(model), _constriction().stream
    n, digest, words = _read(archive, model.layout.features, levels)
    if condition is not None and batch_size(condition) != n:
        raise SpaceError(f"condition: expected {n} rows, one per sample of the archive, found {batch_size(condition)}.")
    decoder, family = coder.stack.AnsCoder(words), coder.model.Categorical(perfect=False)
    flat = _code_samples(model, blank_samples(model, n), condition, lambda _, p: decoder.decode(family, p))
    if _digest(flat, archive[HEADER:]) != digest:
        raise ArtifactError(
            "archive: its content does not match its digest; read it with the model, the conditions, the device and "
            "the number of threads that wrote it, or copy it again."
        )
    return model.layout.unflatten(flat)


def _code_samples(model: Conditionals, flat: Tensor, condition: Tree | None, code: _Code) -> Tensor:
    """Code flat samples (B, D) feature by feature, each given those before it; returns the values that come out."""
    likelihood: Discrete = model.likelihood

    def feature(parameters: Tensor, values: Tensor) -> Tensor:
        probabilities = likelihood.log_masses(parameters.double()).exp().float().cpu().numpy()
        coded = code(values.cpu().numpy().astype(np.int32), probabilities)
        return torch.from_numpy(coded.astype(np.int64)).to(flat)

    # in the dtype in which the model draws: encoder and decoder must compute the same
    in_order = flat.to(blank_samples(model, 0))[:, model.order]
    return ancestral(steps(model, len(flat), condition), feature, in_order)[:, model.order.argsort()]


def _levels(model: Conditionals) -> int:
    """Levels of a feature; raises `SpaceError` for a model of real features."""
    if not isinstance(model.likelihood, Discrete):
        kind = model.layout.support.kind
        raise SpaceError(f"model: only integer features can be compressed without loss, found {kind} ones.")
    return model.likelihood.count


def _digest(flat: Tensor, words: bytes) -> bytes:
    """Digest of the values and of their code; without the code, words after its end would go unnoticed."""
    return hashlib.blake2b(flat.cpu().numpy().astype("<i8").tobytes() + words, digest_size=8).digest()


def _read(archive: bytes, features: int, levels: int) -> tuple[int, bytes, np.ndarray]:
    """Samples, digest and words of an archive; raises `ArtifactError`."""
    if len(archive) < HEADER or not archive.startswith(_MAGIC) or (len(archive) - HEADER) % 4:
        raise ArtifactError(f"archive: not a whole archive of this version ({len(archive)} bytes); copy it again.")
    _, n, *found, digest = _HEADER.unpack_from(archive)
    if found != [features, levels]:
        raise ArtifactError(
            f"archive: expected samples of {features} features of {levels} levels, found {found[0]} of {found[1]}; "
            "read it with the model that wrote it."
        )
    most = _most_samples(features, levels)
    if not 0 < n <= most:
        raise ArtifactError(f"archive: expected 1 to {most} samples of {features} features, its header says {n}.")
    words = np.frombuffer(archive, "<u4", offset=HEADER).astype(np.uint32)
    if words.size and not words[-1]:
        raise ArtifactError("archive: its code ends in a zero word, which no code does; copy it again.")
    return n, digest, words


def _most_samples(features: int, levels: int) -> int:
    """Samples that an archive may hold."""
    return max(1, LIMIT // (features * levels))


def _constriction() -> Any:
    try:
        import constriction
    except ModuleNotFoundError as error:
        message = f"compression needs constriction: {sys.executable} -m pip install constriction"
        raise ModuleNotFoundError(message, name=error.name) from None
    return constriction
