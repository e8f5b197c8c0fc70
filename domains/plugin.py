"""What a domain plug-in supplies.

The verbs of `pipelines` are written against this protocol alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ..core.config import Config
from ..core.data import Batch, Source
from ..core.spaces import Tree
from ..core.statistics.estimate import Estimate
from .generator import Generator, GeneratorConfig

if TYPE_CHECKING:  # most verbs draw nothing
    from matplotlib.figure import Figure

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


class Dataset(Source, Protocol):
    """Measured, simulated or generated data on disk, read by global index.

    Its batches have the row numbers in the file as their index, also those of a part of the file.
    """

    description: Mapping[str, Any]
    """What a codec needs to know about the data, as plain JSON (geometry, names of the conditions)."""

    digest: str
    """SHA-256 of the content, for provenance."""

    origin: Mapping[str, str]
    """Attributes that the file's writer left; files of `generate` identify the model by its `model_sha256`."""

    def summary(self) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) that every verb prints about the data it read."""
        ...

    def rows(self, start: int, stop: int) -> Dataset:
        """The samples start .. stop - 1 as a data set of their own."""
        ...


SOURCE_SHA256 = "source_sha256"
"""Attribute of a file whose samples belong to rows of another one: the digest of all rows of that file."""


@runtime_checkable
class Paired(Protocol):
    """Data whose samples belong to rows of another file, such as reconstructions to measurements.

    `generate --conditions-from` gives them to a `Writer` as `Batch.source_row`, P consecutive samples the same one. A
    writer that keeps them need not keep a large condition P times. A `Dataset` that reads them returns them from
    `fetch`, too, and has them in its `rows`.

    >>> isinstance(object(), Paired)
    False
    """

    @property
    def source_rows(self) -> Tensor | None:
        """Row of that file for each sample, int64 of shape (len,); None for data that belong to no rows."""
        ...


@runtime_checkable
class Grouped(Protocol):
    """Data whose rows belong together in groups, such as the patches of one box or the slices of one patient.

    Samples of one group are not independent, so a fit never trains on one and holds out another. A `Dataset` that has
    groups keeps them in its `rows`.

    >>> isinstance(object(), Grouped)
    False
    """

    groups: Tensor
    """Number of the group of each row, int64 (n,)."""


class Writer(Protocol):
    """Appends physical samples to a file of the domain's data spec; flushed per block; resumes after a kill."""

    written: int

    def append(self, batch: Batch) -> None:
        """Append samples with their conditions, if they have any; raises `DataError` for invalid ones."""
        ...

    def close(self) -> None: ...


class SimulatorConfig(Config):
    """Base of the config of a domain's simulator; `simulate` takes its keys as KEY=VALUE.

    >>> from maquette.domains.calorimeter.simulator.gflash import GflashConfig
    >>> issubclass(GflashConfig, SimulatorConfig)
    True
    >>> showers = GflashConfig(energy=(5.0, 5.0)).build().simulate(range(2), seed=0)
    >>> showers.condition["energy"].tolist()  # MeV
    [[5000.0], [5000.0]]
    """

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """Kinds of devices that the simulator runs on: "cpu", "cuda"."""

    @abstractmethod
    def build(self) -> Simulator:
        """Return the simulator; raises `ConfigError` or `DataError`."""


class Simulator(Protocol):
    """Simulates physical samples, and their conditions if they have any."""

    @property
    def description(self) -> Mapping[str, Any]:
        """Describes the simulated data as a `Dataset` does; given to `Domain.writer`."""
        ...

    def simulate(self, index: Any, seed: int) -> Batch:
        """Return the samples of the given global indices; each depends on its index and the seed alone.

        The device of the indices, one of `SimulatorConfig.devices`, is where they are simulated.
        """
        ...


@dataclass(frozen=True)
class Published:
    """Published figures of other models, printed below one's own.

    Attributes:
        title: of the table.
        columns: its head.
        rows: its body, a cell per column.
        note: source, and what makes the figures comparable or not.

    >>> Published("Challenge", ("model", "auc"), (("A", "0.52"), ("B", "0.61")), "arXiv:2410.21611").rows[0]
    ('A', '0.52')
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Evaluation:
    """Result of `validate`.

    Attributes:
        estimates: figures of merit by name.
        figures: plots by name.
        published: tables of published figures.
        verdict: one sentence.
        notes: sentences to print with it.

    >>> estimate = Estimate(value=0.6, stderr=0.01, floor=0.5, n=1000, unit="", better="lower", definition="ROC AUC.")
    >>> found = Evaluation({"auc": estimate}, figures={}, published=(), verdict="distinguishable by auc")
    >>> round(found.estimates["auc"].significance(), 1)
    10.0
    """

    estimates: Mapping[str, Estimate]
    figures: Mapping[str, Figure]
    published: Sequence[Published]
    verdict: str
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class ReferenceCost:
    """Name and cost of the program that a model replaces.

    Attributes:
        name: of the program that made the training data.
        seconds: per sample, on one CPU core.

    >>> ReferenceCost("Geant4", seconds=1.8).seconds
    1.8
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class Unavailable:
    """Data that an evaluation could use but does not have; `reason` completes "not measurable: ...".

    >>> Unavailable("the training showers were not given").reason
    'the training showers were not given'
    """

    reason: str


@runtime_checkable
class Presents(Protocol):
    """A domain whose users see samples in another form than arrays, such as molecules as text."""

    def present(self, batch: Batch) -> Sequence[Any]:
        """What a user sees of each sample of a batch; `batch.condition` is None where conditions were not given."""
        ...


def present(domain: Any, batch: Batch) -> Any:
    """What a user sees of samples: what their domain presents, or else an array, or named ones.

    >>> import torch
    >>> class Texts:
    ...     def present(self, batch):
    ...         return ["".join("ab"[level] for level in row) for row in batch.x.tolist()]
    >>> batch = Batch(torch.tensor([[0, 1], [1, 1]]), None, torch.arange(2))
    >>> isinstance(Texts(), Presents), present(Texts(), batch), present(None, batch).tolist()
    (True, ['ab', 'bb'], [[0, 1], [1, 1]])
    """
    if isinstance(domain, Presents):
        return domain.present(batch)
    x = batch.x
    return {name: part.numpy() for name, part in x.items()} if isinstance(x, dict) else x.numpy()


class Domain(Protocol):
    """A plug-in; one module-level instance per domain."""

    name: str
    summary: str
    generator: type[GeneratorConfig]
    simulator: type[SimulatorConfig]
    """A config whose `build()` returns a `Simulator`, and whose keys `simulate` takes as KEY=VALUE."""

    def recipes(self) -> Mapping[str, Path]:
        """Named YAML configs."""
        ...

    def sample_path(self) -> Path:
        """The data in the package; `maquette demo` trains on them."""
        ...

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> Dataset:
        """Open and check a data file; raises `DataError`.

        `like` is the description of the expected data: other data are refused, and it supplies what the file lacks.
        """
        ...

    def describe(self, description: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Pairs (label, value with unit) that verbs print about data they are about to create."""
        ...

    def check(self, file: Path, options: Mapping[str, Any], progress: Progress) -> Sequence[tuple[str, str]]:
        """Read the whole file against its spec and return its summary; raises `DataError`."""
        ...

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> Writer:
        """Create (or resume) a data file for n samples; raises `DataError`."""
        ...

    def parse_condition(self, values: Mapping[str, str], n: int, generator: Generator) -> Tree:
        """Physical conditions, n of each, from the values of `condition.NAME=VALUE`; raises `ConfigError`."""
        ...

    def reference_cost(self, description: Mapping[str, Any]) -> ReferenceCost | None:
        """What a model of such data replaces and what that costs; None where it is not known."""
        ...

    def evaluate(
        self,
        reference: Dataset,
        generated: Dataset,
        training: Dataset | Unavailable,
        *,
        seed: int,
        progress: Progress,
        effort: str = "full",
    ) -> Evaluation:
        """Compare generated with reference data by the domain's physics metrics.

        `training` is the data that the generator was fitted to; copies of it are searched for where it is available.
        """
        ...
