"""The generator of showers: the two-stage codec, any family, and random symmetric images for training."""

from __future__ import annotations

from pydantic import Field

from ..codec import Augmentation, Codec
from ..generator import GeneratorConfig
from .codec.codec import ShowerCodecConfig, shower_codec
from .codec.symmetries import RandomSymmetry


class ShowerGeneratorConfig(GeneratorConfig):
    """How showers are encoded and modelled.

    >>> import torch
    >>> from maquette.core.config import parse
    >>> from maquette.domains.calorimeter.dataset import ShowerDataset
    >>> from maquette.domains.calorimeter.sample import sample_path
    >>> data = ShowerDataset(sample_path()).rows(0, 50)
    >>> config = parse(ShowerGeneratorConfig, {"family": {"kind": "linear"}}, where="example")
    >>> generator = config.build(data.description, data)
    >>> generator.augmentation
    RandomSymmetry(symmetries=4)
    """

    codec: ShowerCodecConfig = ShowerCodecConfig()  # type: ignore[assignment]  # frozen, so it may be narrowed
    symmetric: bool = Field(
        default=True, description="train on random symmetric images of the showers (normal incidence only)"
    )

    def augmentation(self, codec: Codec) -> Augmentation | None:
        """Random symmetric images; None where the particle's angle, which breaks the symmetry, is a condition."""
        codec = shower_codec(codec)
        return RandomSymmetry(codec.geometry) if self.symmetric and "angle" not in codec.conditions else None
