"""Networks of blocks are sharded block by block, and give the losses of one process under every layout."""

from pathlib import Path

import pytest
from maquette.core.engine.parallel import units
from maquette.core.engine.plan import ParallelConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.families.gan.losses import NonSaturating, WassersteinGP
from maquette.core.nets.transformer import PatchTransformerConfig
from maquette.core.nets.unet import UNetConfig
from maquette.core.spaces import Field, Product, Vector
from maquette.core.testing.cases import training_case
from maquette.core.testing.training import Crew, assert_processes_do_not_matter

FIELD = Field(channels=1, grid=(4, 4), periodic=(True, False))
GIVEN = Product(parts={"theta": Vector(dim=2), "density": FIELD})
UNET = FlowMatchingConfig(network=UNetConfig(widths=(4, 8), strides=(2,), depth=1, attention=(1,), heads=2, groups=2))
PATCHES = PatchTransformerConfig(width=4, depth=2, heads=2, patch=(2, 2))


def names(case) -> list[str]:
    make_plan, _ = case
    return [type(unit).__name__ for unit, _ in units(make_plan(ParallelConfig()))]


def test_a_unet_is_the_same_on_two_processes_replicated_and_sharded(tmp_path: Path, crew: Crew) -> None:
    case = training_case(UNET, FIELD, GIVEN)
    assert names(case) == [*2 * ["GridAttention"], *4 * ["ModulatedBlock"], "UNet"]
    assert_processes_do_not_matter(*case, tmp_path, stop=8, crew=crew)


@pytest.mark.parametrize(("loss", "blocks"), [(NonSaturating(), 4), (WassersteinGP(), 0)])
def test_networks_with_double_backward_stay_whole(loss, blocks) -> None:
    config = GANConfig(generator=PATCHES, critic=PATCHES, loss=loss)
    assert names(training_case(config, FIELD, None)).count("_Block") == blocks
