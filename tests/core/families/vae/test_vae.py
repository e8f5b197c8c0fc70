"""Variational autoencoders against probabilistic PCA, whose evidence and posterior are known."""

import math

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.inference.importance import importance_bound
from maquette.core.likelihoods.categorical import CategoricalConfig
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.nets.encoder_decoder import ConvCoderConfig, MLPCoderConfig
from maquette.core.spaces import Binary, Field, Interval, Levels, Vector
from maquette.core.testing.bench import draw, fit, keyed, shaken
from maquette.core.testing.laws.density import check_bound
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses
from maquette.core.testing.principal import DIM, LATENT, LAWS, ProbabilisticPCA

LINEAR = MLPCoderConfig(hidden=())
FLOOR = 1e-3  # the least scale of the Gaussian likelihood


def principal(truth, widen):
    """The truth as a linear autoencoder."""
    model = VAEConfig(latent=LATENT, coder=LINEAR).build(truth.space, truth.condition).double()
    (encoder,), (decoder,) = model.encoder.net, model.decoder.net
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:LATENT] = torch.cat((truth.gain, -truth.gain @ truth.a), dim=1)
        encoder.bias[:LATENT] = 0
        encoder.bias[LATENT:] = 7 * torch.atanh((widen * truth.posterior_scale).log() / 7)
        weight, bias = decoder.weight.view(DIM, 3, -1), decoder.bias.view(DIM, 3)
        weight.zero_()
        bias.zero_()
        weight[:, 1] = torch.cat((truth.w, truth.a), dim=1)
        bias[:, 2] = math.log(truth.sigma - FLOOR)
    return model


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("context", [0, 3])
def test_laws_of_probabilistic_pca(law, context):
    LAWS[law](principal, context)


def test_a_bound_of_one_draw_has_no_error():
    model = principal(ProbabilisticPCA(), 1.0)
    x = draw(Vector(dim=DIM), 3, seed=1)
    bound = importance_bound(model, x, noise=keyed(3), draws=1)
    assert bound.error.isnan().all()
    assert torch.equal(bound.value, model.log_bound(x, noise=keyed(3).fold("draw/0")))


@pytest.mark.parametrize(
    ("support", "likelihood"),
    [(Levels(count=5), LogisticMixtureConfig(components=2)), (Levels(count=5), CategoricalConfig()), (Binary(), None)],
)
def test_images_have_decoders_of_every_likelihood(support, likelihood):
    config = VAEConfig(latent=2, coder=ConvCoderConfig(channels=4, strides=(2,)), likelihood=likelihood)
    space = Field(channels=1, grid=(4, 6), periodic=(True, False), support=support)
    for check in (check_sample, check_gradients, check_losses):
        check(config, space, Vector(dim=2))
    model = shaken(config, space, Vector(dim=2))
    c = draw(Vector(dim=2), 3, seed=2)
    z = model.encode(draw(space, 3, seed=1), c)
    assert z.shape == (3, 2)
    assert model.decode(z, c).shape == (3, 1, 4, 6)
    assert model.decode(z, c).is_floating_point()


def test_a_convolutional_bound_keeps_its_law():
    config = VAEConfig(latent=2, coder=ConvCoderConfig(channels=3, strides=(2,)))
    check_bound(config, Field(channels=1, grid=(2, 2), support=Binary()), Vector(dim=1))


def test_what_it_can_do():
    able = capabilities(VAEConfig.example().build(Vector(dim=2)))
    assert able == ("sample", "bound", "elbo", "encode")


@pytest.mark.parametrize(
    ("config", "space", "sentence"),
    [
        (VAEConfig(coder=ConvCoderConfig()), Vector(dim=4), "convolutions need a field of 1 or 2 or 3 axes"),
        (
            VAEConfig(coder=ConvCoderConfig()),
            Field(channels=1, grid=(6, 6)),
            r"stride of 2 does not divide .* \[3, 3\]",
        ),
        (
            VAEConfig(likelihood=CategoricalConfig()),
            Vector(dim=2, support=Interval()),
            "categorical: a distribution of levels values, found interval ones",
        ),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)


def test_it_learns_what_features_have_in_common():
    """Much nearer to the evidence of the truth than the best distribution of independent features can come."""
    truth, n = ProbabilisticPCA(), 256
    torch.manual_seed(0)
    model = VAEConfig(latent=LATENT, coder=MLPCoderConfig(hidden=(32,))).build(Vector(dim=DIM)).double()
    generator = torch.Generator().manual_seed(1)

    def batch(step):
        z, e = (torch.randn(n, k, generator=generator, dtype=torch.float64) for k in (LATENT, DIM))
        return Batch(z @ truth.w.T + truth.sigma * e, None, torch.arange(n))

    fit(model, batch, steps=200, lr=1e-2)
    x = batch(200).x
    gap = (truth.log_prob(x) - importance_bound(model, x, noise=keyed(n), draws=20).value).mean().item()
    independent = 0.5 * (truth.covariance.diagonal().log().sum() - truth.covariance.logdet())
    assert 0 < gap < 0.3 * independent
