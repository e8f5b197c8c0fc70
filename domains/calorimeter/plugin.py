"""The calorimeter as a plug-in: everything that the verbs call, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ...core.config import Config, parse
from ...core.spaces import Tree
from ...data_specs.calorimeter.checks import check_showers
from ...data_specs.calorimeter.geometry import describe_geometry
from ...data_specs.calorimeter.geometry_json import geometry_from_json
from ..generator import Generator
from ..plugin import Evaluation, Progress, ReferenceCost, Unavailable
from .codec.codec import shower_codec
from .dataset import ShowerDataset, ShowerFileWriter
from .evaluate import evaluate
from .generator import ShowerGeneratorConfig
from .published import REFERENCE_COSTS
from .sample import sample_path
from .simulator.gflash import GflashConfig


class CalorimeterDomain:
    """Showers of particles in voxels, MeV.

    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> isinstance(plugin, CalorimeterDomain)
    True
    >>> plugin.open(plugin.sample_path(), {})
    ShowerDataset(eplus_sample.h5, geometry=calogan, rows 0 .. 5499, conditions=energy)
    >>> sorted(plugin.recipes())
    ['demo', 'gan', 'gpu', 'gpu-distilled', 'gpu-ds2', 'quick', 'smoke']
    """

    name = "calorimeter"
    summary = "particle showers in layers of cells, given the incident energy"
    generator = ShowerGeneratorConfig
    simulator = GflashConfig

    def recipes(self) -> Mapping[str, Path]:
        return {file.stem: file for file in sorted(Path(__file__).with_name("recipes").glob("*.yaml"))}

    def sample_path(self) -> Path:
        return sample_path()

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> ShowerDataset:
        expected = None if like is None else geometry_from_json(like["geometry"])
        return ShowerDataset(file, _geometry(options), expected=expected)

    def describe(self, description: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        conditions = ("conditions", ", ".join(description["conditions"]))
        return [*describe_geometry(geometry_from_json(description["geometry"])), conditions]

    def check(self, file: Path, options: Mapping[str, Any], progress: Progress) -> Sequence[tuple[str, str]]:
        return check_showers(file, _geometry(options), progress)

    def writer(
        self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int
    ) -> ShowerFileWriter:
        return ShowerFileWriter(file, description, attributes, n)

    def parse_condition(self, values: Mapping[str, str], n: int, generator: Generator) -> Tree:
        return shower_codec(generator.codec).condition_codec.parse(values, n)

    def reference_cost(self, description: Mapping[str, Any]) -> ReferenceCost | None:
        return REFERENCE_COSTS.get(description["geometry"]["name"])

    def evaluate(
        self,
        reference: ShowerDataset,
        generated: ShowerDataset,
        training: ShowerDataset | Unavailable,
        *,
        seed: int,
        progress: Progress,
        effort: str = "full",
    ) -> Evaluation:
        return evaluate(
            reference,
            generated,
            reference.geometry,
            training=training,
            seed=seed,
            progress=progress,
            effort=effort,
        )


class ShowerOptions(Config):
    """Options of the reader of showers.

    >>> ShowerOptions(geometry="ds2")
    ShowerOptions(geometry='ds2')
    """

    geometry: str | None = Field(
        default=None,
        description="a known name, FILE.xml, or FILE.xml:PID, where the file does not say",
        coerce_numbers_to_str=True,
    )


def _geometry(options: Mapping[str, Any]) -> str | None:
    return parse(ShowerOptions, options, where="data.options").geometry


CALORIMETER = CalorimeterDomain()
