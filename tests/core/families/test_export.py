"""Samplers trace into graphs with the noise as an input and a batch of any size."""

import pytest
import torch
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.families.chain import ChainConfig
from maquette.core.families.diffusion.distilled import DistilledConfig
from maquette.core.families.diffusion.edm import EDMConfig
from maquette.core.families.diffusion.flow_matching import FlowMatchingConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.families.gan.gan import GANConfig
from maquette.core.families.vae.denoising import DenoisingConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.families.vae.vq_vae import VQVAEConfig
from maquette.core.nets.streams import StreamsConfig
from maquette.core.nets.transformer import PatchTransformerConfig
from maquette.core.noise import Recorder, TapeNoise
from maquette.core.spaces import Field, Product, Sequence, Vector, flatten
from maquette.core.testing.bench import keyed, shaken

STREAMS = StreamsConfig(channels=2, depth=1, width=8)
PATCHES = PatchTransformerConfig(width=8, depth=1, heads=2, patch=(2, 2))
FLOW = SplineConfig(transforms=2, hidden=(16,), bins=4)
MODELS = {
    "spline": FLOW,
    "flow-matching": FlowMatchingConfig(network=PATCHES, sampler={"method": "euler", "steps": 2}),
    "edm": EDMConfig(network=PATCHES, sampler={"steps": 2}),
    "distilled": DistilledConfig(teacher=FlowMatchingConfig(network=PATCHES)),
    "gan": GANConfig(generator=STREAMS, critic=STREAMS, spectral_norm=True),
    "chain": ChainConfig(first=FLOW, second=VAEConfig.example(), split=("e",)),
    "transformer": TransformerConfig.example(),
    "pixelcnn": PixelCNNConfig.example(),
    "wavenet": WaveNetConfig.example(),
    "vae": VAEConfig.example(),
    "hierarchical-vae": HierarchicalVAEConfig.example(),
    "vq-vae": VQVAEConfig.example(),
    "denoising-autoencoder": DenoisingConfig.example(),
}
SPACE = Product(parts={"e": Vector(dim=2), "a": Field(channels=1, grid=(2, 4)), "b": Field(channels=1, grid=(4, 2))})
SPACES = {
    "transformer": Product(parts={"e": Vector(dim=1), "a": Field(channels=1, grid=(1, 2))}),
    "pixelcnn": Field(channels=2, grid=(1, 2)),
    "wavenet": Sequence(length=4, vocabulary=3),
    "hierarchical-vae": Field(channels=1, grid=(4, 2), periodic=(True, False)),
    "vq-vae": Field(channels=1, grid=(2, 2), periodic=(True, False)),
}


class Draw(torch.nn.Module):
    """A sampler as a function of condition and noise tensors."""

    def __init__(self, model, space):
        super().__init__()
        self.model, self.space = model, space

    def forward(self, condition, tape):
        return flatten(self.space, self.model.sample(condition.shape[0], condition, noise=TapeNoise(tape)))


def inputs(model, n):
    recorder = Recorder(keyed(n, seed=n, dtype=torch.float32))
    condition = torch.linspace(-1, 1, n)[:, None]
    model.sample(n, condition, noise=recorder)
    return condition, recorder.tape


@pytest.mark.parametrize("name", MODELS)
def test_sampler_traces_with_a_dynamic_batch(name):
    space = SPACES.get(name, SPACE)
    model = shaken(MODELS[name], space, Vector(dim=1)).float().requires_grad_(False)
    condition, tape = inputs(model, 3)
    batch = torch.export.Dim("batch", min=1)
    shapes = {"condition": {0: batch}, "tape": {name: {0: batch} for name in tape}}
    graph = torch.export.export(Draw(model, space), (condition, tape), dynamic_shapes=shapes).module()
    for n in (1, 7):
        condition, tape = inputs(model, n)
        expected = model.sample(n, condition, noise=keyed(n, seed=n, dtype=torch.float32))
        torch.testing.assert_close(graph(condition, tape), flatten(space, expected), rtol=0, atol=1e-5)
