"""Variational autoencoders against probabilistic principal components, where evidence and posterior are known."""

import math

import pytest
import torch
from maquette.core.capabilities import capabilities
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.vae.elbo import ELBOConfig, ELBOObjective
from maquette.core.families.vae.gaussian import DiagonalNormal
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.inference.importance import importance_bound
from maquette.core.likelihoods.categorical import CategoricalConfig
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.nets.encoder_decoder import ConvCoderConfig, MLPCoderConfig
from maquette.core.spaces import Binary, Field, Interval, Levels, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws.density import check_bound
from maquette.core.testing.laws.sampling import check_sample
from maquette.core.testing.laws.training import check_gradients, check_losses
from maquette.core.testing.principal import DIM, LATENT, LAWS, PrincipalComponents

LINEAR = MLPCoderConfig(hidden=())
FLOOR = 1e-3  # the least scale of the Gaussian law


def principal(truth, widen):
    """The truth as a linear autoencoder."""
    model = VAEConfig(latent=LATENT, coder=LINEAR).build(truth.space, truth.condition).double()
    (encoder,), (decoder,) = model.encoder.net, model.decoder.net
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:LATENT] = torch.cat((truth.pull, -truth.pull @ truth.a), dim=1)
        encoder.bias[:LATENT] = 0
        encoder.bias[LATENT:] = 7 * torch.atanh((widen * truth.deviation).log() / 7)
        weight, bias = decoder.weight.view(DIM, 3, -1), decoder.bias.view(DIM, 3)
        weight.zero_()
        bias.zero_()
        weight[:, 1] = torch.cat((truth.w, truth.a), dim=1)
        bias[:, 2] = math.log(truth.sigma - FLOOR)
    return model


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("context", [0, 3])
def test_principal_components(law, context):
    LAWS[law](principal, context)


def test_a_bound_of_one_draw_has_no_error():
    model = principal(PrincipalComponents(), 1.0)
    x = draw(Vector(dim=DIM), 3, seed=1)
    bound = importance_bound(model, x, noise=keyed(3), draws=1)
    assert bound.error.isnan().all()
    assert torch.equal(bound.value, model.log_bound(x, noise=keyed(3).fold("draw/0")))


def test_the_divergence_of_gaussians_is_that_of_torch():
    p, q = (DiagonalNormal.of(torch.randn(4, 6, dtype=torch.float64)) for _ in range(2))
    ours = p.divergence(q)
    normal = torch.distributions.Normal
    a, b = normal(p.mean, p.log_scale.exp()), normal(q.mean, q.log_scale.exp())
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(a, b))
    z = p.at(torch.randn(4, 3, dtype=torch.float64))
    torch.testing.assert_close(p.log_prob(z), a.log_prob(z))


def objective_of(space=None, **loss):
    model = shaken(VAEConfig(latent=3, coder=LINEAR, loss=ELBOConfig(**loss)), space or Vector(dim=4), None)
    objective = model.stages()[0].players[0].objective
    assert isinstance(objective, ELBOObjective)
    batch = Batch(draw(Vector(dim=4), 16, seed=1), None, torch.arange(16))
    return model, objective.double(), batch


def test_beta_weighs_the_divergence():
    terms = {}
    for beta in (0.0, 1.0, 4.0):
        model, objective, batch = objective_of(beta=beta)
        terms[beta] = 4 * objective(batch, keyed(16)).losses
    evidence = model.elbo(batch.x, noise=keyed(16))
    torch.testing.assert_close(terms[0.0], -evidence.reconstruction)
    torch.testing.assert_close(terms[1.0], -evidence.bound)
    torch.testing.assert_close(terms[4.0] - terms[0.0], 4 * (terms[1.0] - terms[0.0]))


def test_the_warm_up_rises_with_steps_alone():
    _, objective, batch = objective_of(beta=2.0, warmup=4)
    weights = []
    for _ in range(6):
        objective(batch, keyed(16))
        out = objective(batch, keyed(16))
        weights.append(float(objective.weight()))
        objective.update(out.statistics)
    assert weights == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_free_bits_spare_groups_below_the_price():
    model, objective, batch = objective_of(free_nats=0.3)
    with torch.no_grad():  # one group far beyond the price, two at no divergence
        model.encoder.net[0].weight.zero_()
        model.encoder.net[0].bias.copy_(torch.tensor([3.0, 0.1, 0.0, 0.0, 0.0, 0.0]))
    first = objective(batch, keyed(16))
    objective.update(first.statistics)
    torch.testing.assert_close(objective.mean, torch.tensor([4.5, 0.005, 0.0], dtype=torch.float64))
    second = objective(batch, keyed(16))
    torch.testing.assert_close(4 * (second.losses - first.losses), torch.full((16,), 0.6 - 0.005, dtype=torch.float64))
    (slope,) = torch.autograd.grad(
        (second.losses - objective(batch, keyed(16)).losses.detach()).sum(), model.encoder.net[0].bias
    )
    free = model.elbo(batch.x, noise=keyed(16)).reconstruction.sum() / 4
    (data,) = torch.autograd.grad(-free, model.encoder.net[0].bias)
    assert slope[0] != data[0]
    torch.testing.assert_close(slope[1:3], data[1:3])


def test_metrics_name_the_terms_in_nats_per_sample():
    model, objective, batch = objective_of(beta=3.0)
    metrics = objective(batch, keyed(16)).metrics
    assert set(metrics) == {"reconstruction", "divergence", "bound"}
    torch.testing.assert_close(metrics["bound"], model.elbo(batch.x, noise=keyed(16)).bound)
    torch.testing.assert_close(metrics["bound"], metrics["reconstruction"] - metrics["divergence"])


@pytest.mark.parametrize(
    ("support", "likelihood"),
    [(Levels(count=5), LogisticMixtureConfig(components=2)), (Levels(count=5), CategoricalConfig()), (Binary(), None)],
)
def test_images_have_decoders_of_every_law(support, likelihood):
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


def test_a_convolutional_bound_is_honest():
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
            "categorical: a law of levels numbers, found interval ones",
        ),
    ],
)
def test_impossible_models_are_refused(config, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(space)


def test_it_learns_what_numbers_have_in_common():
    """Much nearer to the evidence of the truth than the best law of independent numbers can come."""
    truth, n = PrincipalComponents(), 256
    torch.manual_seed(0)
    model = VAEConfig(latent=LATENT, coder=MLPCoderConfig(hidden=(32,))).build(Vector(dim=DIM)).double()
    objective = model.stages()[0].players[0].objective.double()
    generator = torch.Generator().manual_seed(1)

    def batch():
        z, e = (torch.randn(n, k, generator=generator, dtype=torch.float64) for k in (LATENT, DIM))
        return Batch(z @ truth.w.T + truth.sigma * e, None, torch.arange(n))

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(200):
        optimizer.zero_grad()
        objective(batch(), keyed(n, seed=step)).losses.mean().backward()
        optimizer.step()
    x = batch().x
    gap = (truth.log_prob(x) - importance_bound(model, x, noise=keyed(n), draws=20).value).mean().item()
    independent = 0.5 * (truth.covariance.diagonal().log().sum() - truth.covariance.logdet())
    assert 0 < gap < 0.3 * independent
