"""What a generator makes of its codec and its family, and what it expects of them."""

from typing import Any

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.constraint import Constraint
from maquette.core.data import Batch, Source
from maquette.core.errors import ConfigError
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.spaces import Levels, Tree, Vector
from maquette.domains.codec import Codec, CodecConfig, VolumeCodec
from maquette.domains.generator import BoundedGenerator, DensityGenerator, Generator, GeneratorConfig
from torch import Tensor, nn

OWED = ("fit", "encode", "decode")


class Doubling(VolumeCodec):
    """y = 2 x."""

    def fit(self, source: Source) -> None: ...

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        return Batch(2 * batch.x, batch.condition, batch.index), torch.full(
            (len(batch),), 2 * torch.log(torch.tensor(2.0))
        )

    def encode_condition(self, condition: Tree) -> Tree:
        return condition

    def decode(self, y: Tree, condition: Tree) -> Tree:
        return y / 2

    def draw_condition(self, noise: Noise) -> Tree:
        return noise.normal("c", (1,))


class DoublingConfig(CodecConfig):
    def build(self, description: Any) -> Doubling:
        return Doubling(Vector(dim=2), Vector(dim=1))


class DoublingGeneratorConfig(GeneratorConfig):
    codec: DoublingConfig = DoublingConfig()


def config(**family: Any) -> DoublingGeneratorConfig:
    return DoublingGeneratorConfig.model_validate({"family": {"kind": "linear", **family}})


@pytest.mark.parametrize("missing", OWED)
def test_a_codec_without_one_of_its_methods_cannot_be_built(missing: str) -> None:
    members = {name: getattr(Doubling, name) for name in OWED if name != missing}
    with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
        type("Lacking", (Codec,), members)(Vector(dim=1))


def test_a_codec_config_without_build_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="build"):
        type("Lacking", (CodecConfig,), {})()


def test_a_codec_needs_a_space() -> None:
    with pytest.raises(TypeError, match="space"):
        Doubling()


def test_the_bound_is_the_density_of_the_family_and_the_volume_of_the_codec() -> None:
    torch.manual_seed(0)
    generator = config().build({})
    assert isinstance(generator, BoundedGenerator)
    x, condition = torch.randn(5, 2), torch.randn(5, 1)
    bound = generator.log_bound(x, condition, noise=KeyedNoise(0, torch.arange(5)))
    torch.testing.assert_close(bound, generator.family.log_prob(2 * x, condition) + 2 * torch.log(torch.tensor(2.0)))


class Exact(Doubling):
    exact = True


class Lossy(Codec):
    """y = x, rounded to tenths."""

    fit, decode = Doubling.fit, Doubling.decode

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        return batch.map(lambda tensor: (10 * tensor).round() / 10)


VAE = {"kind": "vae", "latent": 1}


@pytest.mark.parametrize(
    ("codec", "family", "able"),
    [
        (Exact, {"kind": "linear"}, {"density"}),
        (Doubling, {"kind": "linear"}, {"bound"}),
        (Lossy, {"kind": "linear"}, set()),
        (Exact, VAE, {"bound"}),
        (Doubling, VAE, {"bound"}),
        (Lossy, VAE, set()),
    ],
)
def test_what_is_known_of_the_density_follows_from_family_and_codec(codec: Any, family: Any, able: set[str]) -> None:
    class Config(CodecConfig):
        def build(self, description: Any) -> Codec:
            return codec(Vector(dim=2), Vector(dim=1))

    generator = GeneratorConfig.model_validate({"codec": Config(), "family": family}).build({})
    assert {"density", "bound"} & set(capabilities(generator)) == able
    x, condition, noise = torch.randn(5, 2), torch.randn(5, 1), KeyedNoise(0, torch.arange(5))
    if isinstance(generator, DensityGenerator):
        expected = generator.family.log_prob(2 * x, condition) + 2 * torch.log(torch.tensor(2.0))
        torch.testing.assert_close(generator.log_prob(x, condition), expected)
    if family is VAE and isinstance(generator, BoundedGenerator):
        assert generator.direction == "lower"
        bound = generator.family.log_bound(2 * x, condition, noise=noise.fold("family"))
        torch.testing.assert_close(
            generator.log_bound(x, condition, noise=noise), bound + 2 * torch.log(torch.tensor(2.0))
        )


class Rising(VolumeCodec):
    """Levels as they are, of which none lies below the one before."""

    fit, exact = Doubling.fit, True

    def encode_with_volume(self, batch: Batch, noise: Noise) -> tuple[Batch, Tensor]:
        return batch, torch.zeros(len(batch))

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        return y

    def constraint(self) -> Constraint:
        return NotBelow()


class NotBelow:
    def start(self, n: int, condition: Tree | None = None, *, device: torch.device | None = None) -> Tree:
        return torch.zeros(n, dtype=torch.int64, device=device)

    def allowed(self, state: Tree) -> Tensor:
        assert isinstance(state, Tensor)
        return torch.arange(3) >= state[:, None]

    def advance(self, state: Tree, level: Tensor) -> Tree:
        return level


class RisingConfig(CodecConfig):
    def build(self, description: Any) -> Rising:
        return Rising(Vector(dim=3, support=Levels(count=3)))


@pytest.mark.parametrize("exact", [True, False])
def test_samples_and_densities_are_those_under_the_constraint_of_the_codec(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rising, "exact", exact)
    generator = GeneratorConfig.model_validate({"codec": RisingConfig(), "family": {"kind": "fvsbn"}}).build({})
    noise = KeyedNoise(0, torch.arange(100))
    x = generator.sample(100, noise=noise)
    assert isinstance(x, Tensor)
    assert (x.diff(dim=1) >= 0).all()
    states = torch.cartesian_prod(*3 * [torch.arange(3)])
    if isinstance(generator, DensityGenerator):
        found = generator.log_prob(states)
    else:
        assert isinstance(generator, BoundedGenerator)
        found = generator.log_bound(states, noise=KeyedNoise(0, torch.arange(27)))
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert ((found == -torch.inf) == (states.diff(dim=1) < 0).any(1)).all()


def test_a_family_that_cannot_keep_the_constraint_of_a_codec_is_refused() -> None:
    family = {"kind": "made", "masks": 2}
    with pytest.raises(ConfigError, match="constraint: expected a model that draws levels feature by feature"):
        GeneratorConfig.model_validate({"codec": RisingConfig(), "family": family}).build({})


def test_a_bound_from_above_adds_to_an_exact_volume_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.core.families.vae.vae import VAE as Model

    monkeypatch.setattr(Model, "direction", "upper")
    family = {"kind": "vae", "latent": 1}
    assert type(DoublingGeneratorConfig.model_validate({"family": family}).build({})) is Generator
    monkeypatch.setattr(Doubling, "exact", True)
    found = DoublingGeneratorConfig.model_validate({"family": family}).build({})
    assert isinstance(found, BoundedGenerator)
    assert found.direction == "upper"


def test_by_default_samples_disagree_by_the_largest_difference_over_their_largest_value() -> None:
    codec = DoublingConfig().build({})
    expected = {"a": torch.tensor([[1.0, -4.0], [0.0, 0.0]]), "b": torch.tensor([[3.0], [0.0]])}
    assert codec.disagreement(expected, expected, None)["largest_difference"].holds
    found = {**expected, "b": torch.tensor([[2.0], [0.0]])}
    assert codec.disagreement(expected, found, None)["largest_difference"].value == 0.25
    for wrong in (torch.nan, torch.inf):
        found = {**expected, "b": torch.tensor([[3.0], [wrong]])}
        assert not codec.disagreement(expected, found, None)["largest_difference"].holds


def test_a_family_that_cannot_be_trained_says_so() -> None:
    codec = DoublingConfig().build({})
    generator = Generator(codec, nn.Linear(2, 2), config(), {})
    with pytest.raises(ConfigError, match="linear has no stages, so it cannot be trained"):
        generator.stages()
