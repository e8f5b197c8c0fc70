"""The terms of a bound sum to it, the parts of a KL divergence to the divergence; Gaussian codes give closed forms."""

import math

import pytest
import torch
from maquette.core.families.vae.elbo import ELBOConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.inference.elbo import decompose_kl, terms
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken


@pytest.mark.parametrize("config", [VAEConfig.example(), HierarchicalVAEConfig.example()], ids=lambda c: c.kind)
def test_the_terms_sum_to_the_bound(config):
    model = shaken(config, Vector(dim=5), Vector(dim=2))
    x, c = draw(Vector(dim=5), 40, 1), draw(Vector(dim=2), 40, 2)
    found = terms(model, x, c, noise=keyed(40), draws=3)
    layers = {name: term for name, term in found.items() if name not in ("bound", "reconstruction")}
    total = found["reconstruction"].value - sum(term.value for term in layers.values())
    assert found["bound"].value == pytest.approx(total, abs=1e-10)
    draws = torch.stack([model.elbo(x, c, noise=keyed(40).fold(f"draw/{k}")).bound for k in range(3)]).mean(0)
    assert found["bound"].value == pytest.approx(draws.mean().item(), abs=1e-10)
    assert found["bound"].error == pytest.approx(draws.std().item() / math.sqrt(40), abs=1e-10)
    for term in layers.values():
        assert term.groups.sum().item() == pytest.approx(term.value, abs=1e-10)


def test_dimensions_without_information_are_not_active():
    model = shaken(VAEConfig(latent=3, loss=ELBOConfig()), Vector(dim=5), None)
    last = model.encoder.net[-1]
    with torch.no_grad():  # the posterior of the second dimension is the prior
        for rows in (1, 4):
            last.weight[rows], last.bias[rows] = 0, 0
    found = terms(model, draw(Vector(dim=5), 40, 1), noise=keyed(40))["kl"]
    assert found.groups[1] == 0
    assert found.active == 2


def test_the_decomposition_is_that_of_gaussian_codes():
    """Posteriors N(m, s^2) with m ~ N(0, A): the aggregate posterior is N(0, A + s^2)."""
    n, scale = 4000, 0.6
    factor = torch.tensor([[0.8, 0.0], [0.7, 0.5]], dtype=torch.float64)
    mean = keyed(n).normal("means", (2,)) @ factor.T
    log_scale = torch.full_like(mean, math.log(scale))
    found = decompose_kl(mean, log_scale, noise=keyed(n))
    covariance = factor @ factor.T + scale**2 * torch.eye(2, dtype=torch.float64)
    variance = covariance.diagonal()
    information = 0.5 * (covariance.logdet() - 4 * math.log(scale))
    correlation = 0.5 * (variance.log().sum() - covariance.logdet())
    marginals = 0.5 * (variance - 1 - variance.log()).sum()
    assert found.mutual_information == pytest.approx(information.item(), abs=0.05)
    assert found.total_correlation == pytest.approx(correlation.item(), abs=0.03)
    assert found.dimensionwise_kl == pytest.approx(marginals.item(), abs=0.05)


def test_the_parts_sum_to_the_kl_of_the_draws():
    mean, log_scale = (keyed(300).normal(name, (4,)) for name in ("m", "s"))
    found = decompose_kl(mean, log_scale, noise=keyed(300), block=7)
    u = keyed(300).normal("posterior", (4,))
    z = mean + log_scale.exp() * u
    expected = (0.5 * (z.square() - u.square()) - log_scale).sum(1).mean().item()
    assert found.mutual_information + found.total_correlation + found.dimensionwise_kl == pytest.approx(
        expected, abs=1e-10
    )
    assert 0 < found.mutual_information < math.log(300)


def test_codes_that_do_not_depend_on_samples_carry_no_information():
    mean, log_scale = torch.zeros(200, 3).double(), torch.full((200, 3), -0.5).double()
    found = decompose_kl(mean, log_scale, noise=keyed(200))
    assert found.mutual_information == pytest.approx(0, abs=1e-12)
    assert found.total_correlation == pytest.approx(0, abs=1e-12)
