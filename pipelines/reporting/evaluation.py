"""`evaluation.json`: what a validation found, with everything that its report shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from ...core.statistics.estimate import Against, Better, Estimate
from ...core.statistics.verdict import SIGNIFICANT
from ..console.numbers import with_error
from ..files import Record
from ..run.provenance import Provenance

FILE = "evaluation.json"
SideName = Literal["reference", "generated", "training"]


class EstimateRecord(Record):
    """One metric; what could not be measured is null."""

    value: float | None
    stderr: float | None = Field(description="standard error of the value")
    floor: float | None = Field(description="what the metric is held against, by default its noise floor")
    floor_stderr: float | None = Field(default=None, description="standard error of the floor")
    n: int = Field(description="number of samples")
    unit: str
    better: Better = Field(description="which direction is better")
    definition: str
    remark: str = Field(default="", description="a word or two that belong beside the value")
    against: Against = Field(
        default="halves",
        description="what the floor is: the metric between two disjoint halves of the reference, that of a baseline, a "
        "nominal value, or nothing",
    )
    baseline: str = Field(default="", description="name of the method that it is held against")
    difference_stderr: float | None = Field(default=None, description="standard error of value - floor, if paired")
    significance: float | None = Field(default=None, description="standard errors beyond the floor; null if infinite")
    passes: bool | None = Field(default=None, description="whether the value is not worse; null if not judged")

    @classmethod
    def of(cls, estimate: Estimate) -> EstimateRecord:
        """The record of an estimate, judged by `verdict.SIGNIFICANT`."""
        significance = estimate.significance()
        return cls(
            **estimate.to_json(),
            significance=significance if math.isfinite(significance) else None,
            passes=None if math.isnan(significance) else significance <= SIGNIFICANT,
        )

    def held_against(self) -> str:
        """What the metric is held against, as people read it: with its name, unless it is the floor.

        >>> psnr = Estimate(31.2, 0.1, 30.1, 50, "dB", "higher", "PSNR.", 0.1, against="baseline", baseline="wavelets")
        >>> EstimateRecord.of(psnr).held_against()
        '30.10 ± 0.10 dB (wavelets)'
        """
        name = {"baseline": self.baseline or "baseline", "nominal": "nominal"}.get(self.against, "")
        return with_error(self.floor, self.floor_stderr, self.unit, name)


def headings(estimates: Iterable[Estimate | EstimateRecord]) -> tuple[str, str]:
    """Heads of the two columns that say what metrics are held against, and how far they are beyond it.

    >>> headings([Estimate(0.9, 0.01, 0.9, 50, "", "floor", "Coverage.", against="nominal")])
    ('held against', 'beyond it')
    """
    if all(one.against in ("halves", "nothing") for one in estimates):
        return "floor", "beyond floor"
    return "held against", "beyond it"


class PublishedRecord(Record):
    """Figures of others, as a table."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str


class FigureRecord(Record):
    """A picture below the evaluation's folder."""

    file: str
    caption: str


class SideRecord(Record):
    """One side of the comparison."""

    file: str
    rows: str = Field(description='START:STOP, or "all"')
    n: int = Field(description="number of samples")
    sha256: str = Field(description="of the content of those rows; of training data, of the whole file")
    file_sha256: str | None = Field(default=None, description="of all rows, if the generated samples belong to these")


class GeneratedRecord(SideRecord):
    """The generated side."""

    file_rows: int = Field(description="rows of the whole file")
    origin: dict[str, Any] = Field(default_factory=dict, description="what the file says of how it was made")


class InputsRecord(Record):
    """What the comparison was made of."""

    reference: SideRecord
    generated: GeneratedRecord
    training: SideRecord | None = Field(default=None, description="null if the training data are not known")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the domain's reader")
    effort: str
    seed: int

    def sides(self) -> Iterator[tuple[SideName, SideRecord]]:
        """The sides that there are, by the option of the command line that names each."""
        yield "reference", self.reference
        yield "generated", self.generated
        if self.training:
            yield "training", self.training


def hashed_rows(name: SideName, side: SideRecord) -> str:
    """The rows that a side's SHA-256 is taken of: training data are identified by their whole file."""
    return "all rows" if name == "training" or side.rows == "all" else f"rows {side.rows}"


class EvaluationRecord(Record):
    """The content of `evaluation.json`.

    >>> from tempfile import TemporaryDirectory
    >>> from maquette.pipelines.run.provenance import gather
    >>> auc = Estimate(value=0.6, stderr=0.01, floor=0.5, n=100, unit="", better="lower", definition="ROC AUC.")
    >>> reference = SideRecord(file="showers.h5", rows="0:200", n=200, sha256="ab12")
    >>> generated = GeneratedRecord(file="generated.h5", rows="all", n=200, sha256="cd34", file_rows=200)
    >>> evaluation = EvaluationRecord(
    ...     domain="calorimeter",
    ...     model_sha256=None,
    ...     verdict="distinguishable by auc",
    ...     notes=[],
    ...     estimates={"auc": EstimateRecord.of(auc)},
    ...     published=[PublishedRecord(title="Challenge", columns=["model"], rows=[["A"]], note="arXiv:2410.21611")],
    ...     figures=[FigureRecord(file="figures/response.png", caption="Response.")],
    ...     inputs=InputsRecord(reference=reference, generated=generated, effort="quick", seed=0),
    ...     provenance=gather(),
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     evaluation.write(Path(folder) / FILE)
    ...     read_evaluation(Path(folder)) == evaluation
    True
    >>> evaluation.estimates["auc"].passes
    False
    >>> [(name, hashed_rows(name, side)) for name, side in evaluation.inputs.sides()]
    [('reference', 'rows 0:200'), ('generated', 'all rows')]
    """

    remedy: ClassVar[str] = "validate again"

    schema_version: Literal[2] = Field(default=2, alias="schema", description="version of this layout")
    domain: str = Field(description="name of the domain")
    model_sha256: str | None = Field(description="weights of the model that generated; null if it is not known")
    verdict: str
    notes: list[str]
    estimates: dict[str, EstimateRecord]
    published: list[PublishedRecord]
    figures: list[FigureRecord]
    inputs: InputsRecord
    provenance: Provenance = Field(description="of the validation")


def read_evaluation(folder: Path) -> EvaluationRecord:
    """The evaluation in a folder.

    Raises:
        ArtifactError: there is none, a damaged one, or one of another version.
    """
    return EvaluationRecord.read(folder / FILE)
