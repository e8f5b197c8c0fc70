"""Generators of samples whose size, or whose space, is not that of training."""

from typing import Any, ClassVar, Literal

import pytest
import torch
from maquette.core.data import Batch, Source, TensorSource
from maquette.core.errors import ConfigError
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.sampling import GuidedSamplerConfig
from maquette.core.grids import with_grid
from maquette.core.nets.unet import UNetConfig
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.spaces import Field, Space, Tree, Vector
from maquette.domains.codec import CodecConfig, VolumeCodec
from maquette.domains.generator import Generator, GeneratorConfig
from torch import Tensor

FAMILY = FlowMatchingConfig(
    network=UNetConfig(widths=(4,), strides=(), depth=1, attention=(), groups=2), sampler=GuidedSamplerConfig(steps=2)
)
DATA = TensorSource(3 + torch.randn(20, 1, 4, generator=torch.Generator().manual_seed(0)))


class Line(VolumeCodec):
    """Lines of cells from which a ramp over the whole line is taken, whatever its length, and one fitted level."""

    level: Tensor

    def __init__(self, length: int, levels: int) -> None:
        super().__init__(Field(channels=1, grid=(length,)))
        self.length = length
        self.register_buffer("level", torch.zeros(levels))

    @property
    def ramp(self) -> Tensor:
        return torch.linspace(0, 1, self.length)

    def fit(self, source: Source) -> None:
        self.level.copy_(source.fetch(torch.arange(len(source))).x.mean())

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        return Batch(batch.x - self.ramp - self.level[0], None, batch.index), torch.zeros(len(batch))

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y + self.ramp + self.level[0]

    def draw_condition(self, noise: Noise) -> None:
        return None


class LineConfig(CodecConfig):
    kind: Literal["line"] = "line"
    levels: int = 1

    def build(self, description: Any) -> Line:
        return Line(description["length"], self.levels or description["length"])

    def description_at(self, description: Any, space: Space) -> Any:
        assert isinstance(space, Field)
        return {"length": space.grid[0]}


class OneSizeConfig(LineConfig):
    kind: Literal["one"] = "one"
    description_at: ClassVar[Any] = CodecConfig.description_at


def generator(codec: CodecConfig, family: Any = FAMILY) -> Generator:
    torch.manual_seed(0)
    return GeneratorConfig.model_validate({"codec": codec, "family": family}).build({"length": 4}, DATA)


def at(made: Generator, length: int) -> Generator:
    return made.at(with_grid(made.space, (length,)))


def test_another_size_is_decoded_by_the_codec_of_its_description_with_what_was_fitted() -> None:
    made = generator(LineConfig())
    longer = at(made, 6)
    assert longer.description == {"length": 6}
    assert isinstance(longer.decoder, Line)
    assert longer.decoder.length == 6
    assert float(longer.decoder.level) == pytest.approx(float(DATA.x.mean()))
    noise = KeyedNoise(0, torch.arange(3))
    x = longer.sample(3, noise=noise)
    encoded = longer.family.sample(3, noise=noise.fold("family"))
    torch.testing.assert_close(x, encoded + torch.linspace(0, 1, 6) + made.codec.level)
    batch = Batch(x, None, torch.arange(3))
    torch.testing.assert_close(longer.decoder.encode(batch, noise).x, encoded)


def test_the_model_itself_stays_as_it_was_and_shares_its_weights() -> None:
    made = generator(LineConfig())
    noise = KeyedNoise(0, torch.arange(3))
    before = made.sample(3, noise=noise)
    longer = at(made, 6)
    assert torch.equal(made.sample(3, noise=noise), before)
    assert made.description == {"length": 4}
    assert {id(p) for p in made.parameters()} == {id(p) for p in longer.parameters()}


@pytest.mark.parametrize(
    ("codec", "family", "sentence"),
    [
        (LineConfig(levels=0), FAMILY, r"what the codec fitted \(level\) belongs to data of one size"),
        (OneSizeConfig(), FAMILY, "the codec of these data has one size only"),
        (LineConfig(), {"kind": "linear"}, "family.kind: linear samples one size only"),
        (LineConfig(), {"kind": "flow-matching"}, "belong to one grid"),
    ],
)
def test_what_has_one_size_is_refused(codec: CodecConfig, family: Any, sentence: str) -> None:
    made = generator(codec, family)
    with pytest.raises(ConfigError, match=sentence):
        at(made, 6)


class Doubled(FlowMatchingConfig):
    """Says that it samples two values, wherever it is trained."""

    kind: Literal["doubled"] = "doubled"

    def samples(self, space: Space) -> Space:
        return Vector(dim=2)


def test_samples_that_the_codec_cannot_decode_are_refused_before_the_fit() -> None:
    class Stubborn(LineConfig):
        def description_at(self, description: Any, space: Space) -> Any:
            return {"length": 5}

    config = GeneratorConfig.model_construct(codec=Stubborn(), family=Doubled())
    with pytest.raises(ConfigError, match=r"expected a codec of Vector.* for such data, found one of Field"):
        config.build({"length": 4}, DATA)
