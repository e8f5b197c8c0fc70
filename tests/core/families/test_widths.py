"""Layers without units and grids without cells are refused where they are written."""

import pytest
from maquette.core.config import parse
from maquette.core.errors import ConfigError
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig
from maquette.core.families.vae.vq_vae import VQVAEConfig
from maquette.core.nets.encoder_decoder import ConvCoderConfig, MLPCoderConfig


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [(config, "hidden", [bad]) for config in (MADEConfig, NADEConfig, MLPCoderConfig) for bad in (0, -1)]
    + [(config, "strides", [bad]) for config in (VQVAEConfig, ConvCoderConfig) for bad in (0, -2)]
    + [(HierarchicalVAEConfig, "levels", [{"stride": 0}])],
)
def test_at_least_one(config, key, value):
    with pytest.raises(ConfigError, match=rf"model.{key}.0.*: Input should be greater than or equal to 1"):
        parse(config, {key: value}, where="model")
