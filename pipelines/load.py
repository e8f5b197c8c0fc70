"""`maquette.load`: a fitted model in memory, to draw samples from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ..core import artifact
from ..core.data import Batch, map_tree
from ..core.errors import ArtifactError, ConfigError
from ..core.families.sampling import sampler_options, share, with_sampler
from ..core.grids import with_grid
from ..core.memory import bytes_per_sample, samples_at_once
from ..core.noise import KeyedNoise
from ..core.precision import Precision, computing
from ..core.spaces import Tree
from ..core.spaces import batch_size as length_of
from ..domains import domains
from ..domains.generator import Generator, load_generator
from ..domains.plugin import Domain
from .arguments import check_counts, check_seed, resolve_device
from .run.folder import MODEL_SHA256, existing_run


class Model:
    """A generator with its domain, on a device.

    Sample i is a function of the seed, i and its condition alone; the batch size does not change it.

    Attributes:
        generator: codec and family.
        domain: its plug-in.
        device: where samples are drawn.
        folder: the artefact's.
        precision: of the products of its networks.
        size: sides of the grid of its samples, if another one than that of training was asked for.
        config: the artefact's `config.json`, which lies beside the weights.
    """

    def __init__(
        self,
        generator: Generator,
        domain: Domain,
        device: torch.device,
        folder: Path,
        precision: Precision = "float32",
    ) -> None:
        self.precision: Precision = precision
        self.size: tuple[int, ...] | None = None
        self.generator, self.domain, self.device, self.folder = generator.to(device), domain, device, folder
        self._measured: tuple[Generator, int] | None = None  # bytes that a sample takes while this generator draws it
        self.config: dict[str, Any] = artifact.read_config(folder / artifact.CONFIG)

    def __repr__(self) -> str:
        return f"Model(domain={self.domain.name!r}, folder={str(self.folder)!r}, device={str(self.device)!r})"

    def with_sampler(self, words: Sequence[str]) -> Model:
        """The same model, sharing its weights, with other options of sampling.

        Args:
            words: PATH=VALUE, such as `sampler.steps=50`, or `second.sampler.steps=50` in a chain.

        Raises:
            ConfigError: an option that the model does not have, or a value that it cannot have.
        """
        view = copy.copy(self)
        view.generator = share(self.generator, family=with_sampler(self.generator.family, words))
        return view

    def with_size(self, size: Sequence[int]) -> Model:
        """The same model, sharing its weights, for samples of another size.

        Args:
            size: sides of the grid of its samples, as encoded for the networks.

        Raises:
            ConfigError: samples without a grid, or a network, a family or a codec that has one size only.
        """
        view = copy.copy(self)
        view.size, view.generator = tuple(size), self.generator.at(with_grid(self.generator.space, size))
        return view

    @property
    def sampler(self) -> dict[str, Any]:
        """The options of sampling in use, by path; empty for a model without any."""
        return sampler_options(self.generator.family)

    @property
    def conditional(self) -> bool:
        """Whether samples have conditions."""
        return self.generator.codec.condition is not None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights on disk."""
        return artifact.weights_digest(self.folder)

    def attributes(self, seed: int) -> dict[str, str | int]:
        """What a file says of the model that made it; an unfinished file is continued only if it says the same."""
        options = ", ".join(f"{path}={value}" for path, value in self.sampler.items())
        return {
            "config_hash": str(self.config.get("config_hash", "")),
            MODEL_SHA256: self.digest,
            "seed": seed,
            "precision": self.precision,
            **({"size": ",".join(map(str, self.size))} if self.size else {}),
            **({"sampler": options} if options else {}),
        }

    def sample(
        self,
        n: int,
        condition: Tree | None = None,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        first: int = 0,
    ) -> Tree:
        """Draw physical samples.

        Args:
            n: how many.
            condition: n physical conditions; drawn from the distribution seen in training if not given. A model
                without conditions takes none.
            seed: the same seed gives the same samples.
            batch_size: how many are drawn at once; as `at_once` says if not given. It does not change the samples.
            first: index of the first sample, to continue where an earlier call ended.

        Returns:
            A tensor (or named tensors) of n samples on the CPU, in the units of the domain's data spec.

        Raises:
            ConfigError: a number of samples below one, a bad seed, another number of conditions than n, conditions
                beyond those of training, or none for a model that cannot draw them.
        """
        check_counts(n, 1 if batch_size is None else batch_size)
        seed = check_seed(seed)
        if condition is not None and length_of(condition) != n:
            raise ConfigError(f"expected one condition per sample ({n}), found {length_of(condition)}.")
        if condition is not None:
            condition = self.generator.accept(condition)

        def draw(rows: Tensor) -> Batch:
            return self.draw(first + rows, seed, map_tree(lambda tensor: tensor[rows], condition))

        parts: list[Any] = [draw(rows).x for rows in torch.arange(n).split(batch_size or self.at_once(draw, n))]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def at_once(self, draw: Callable[[Tensor], object], n: int) -> int:
        """How many of n samples are drawn at once: as many as `core.memory` allows for what one of them takes.

        Args:
            draw: draws the samples of some indices, int64 of shape (B,), by this model; called for the first ones.
            n: how many are wanted.
        """
        if n == 1:
            return 1
        if self._measured is None or self._measured[0] is not self.generator:
            self._measured = self.generator, bytes_per_sample(lambda count: draw(torch.arange(count)))
        return samples_at_once(self.device, self._measured[1])

    @torch.no_grad()
    def draw(self, index: Tensor, seed: int, condition: Tree | None = None) -> Batch:
        """The samples of some global indices, int64 of shape (B,), physical and on the CPU, with their conditions."""
        noise = KeyedNoise(seed, index.to(self.device), stream="generate")
        if condition is None:
            condition = self.generator.draw_condition(noise.fold("condition"))
        condition = map_tree(lambda tensor: tensor.to(self.device), condition)
        with computing(self.precision, self.device):
            x = self.generator.sample(len(index), condition, noise=noise)
        return Batch(x, condition, index).to("cpu")


def load(run: str | Path, device: str = "cpu", *, precision: Precision = "float32") -> Model:
    """Read a fitted model from a run's folder, or from the folder of an artefact itself.

    Args:
        run: the folder.
        device: "cpu", "cuda", "cuda:1" or "auto".
        precision: of the products of networks when samples are drawn: "float32", "tf32" (on a GPU) or "bfloat16".
            Weights stay in float32.

    Raises:
        ArtifactError: not a run or artefact, or a damaged one; pickles are never read.
        ConfigError: a domain that is not installed, a device that is not there, or an unknown precision.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f'precision: expected one of {", ".join(get_args(Precision))}, found "{precision}".')
    folder = Path(run)
    if not (folder / artifact.CONFIG).is_file():
        folder = existing_run(folder).model
        if not folder.is_dir():
            raise ArtifactError(f"{run}: this run holds no model yet; finish it with `maquette fit ... --resume`.")
    if not (folder / artifact.CONFIG).is_file():
        raise ArtifactError(f"{folder}: expected a fitted model, found no {artifact.CONFIG}; fit again.")
    content = artifact.read_config(folder / artifact.CONFIG)
    if not isinstance(content.get("domain"), str):
        raise ArtifactError(f"{folder}: the artefact does not say which domain it belongs to; fit again.")
    domain = domains.get(content["domain"])
    generator = load_generator(folder, domain.generator)
    return Model(generator, domain, resolve_device(device), folder, precision)
