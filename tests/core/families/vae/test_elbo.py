"""The loss of variational autoencoders: KL weight, warm-up and free bits."""

import torch
from maquette.core.data import Batch
from maquette.core.families.vae.elbo import ELBOConfig, ELBOObjective
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.nets.encoder_decoder import MLPCoderConfig
from maquette.core.spaces import Vector
from maquette.core.testing.bench import draw, keyed, shaken

LINEAR = MLPCoderConfig(hidden=())


def objective_of(space=None, **loss):
    model = shaken(VAEConfig(latent=3, coder=LINEAR, loss=ELBOConfig(**loss)), space or Vector(dim=4), None)
    objective = model.stages()[0].players[0].objective
    assert isinstance(objective, ELBOObjective)
    batch = Batch(draw(Vector(dim=4), 16, seed=1), None, torch.arange(16))
    return model, objective.double(), batch


def test_beta_weighs_the_kl():
    terms = {}
    for beta in (0.0, 1.0, 4.0):
        model, objective, batch = objective_of(beta=beta)
        terms[beta] = 4 * objective(batch, keyed(16)).losses
    elbo = model.elbo(batch.x, noise=keyed(16))
    torch.testing.assert_close(terms[0.0], -elbo.reconstruction)
    torch.testing.assert_close(terms[1.0], -elbo.bound)
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


def test_free_bits_charge_no_group_below_them():
    model, objective, batch = objective_of(free_nats=0.3)
    with torch.no_grad():  # one group far above the free bits, two below
        model.encoder.net[0].weight.zero_()
        model.encoder.net[0].bias.copy_(torch.tensor([3.0, 0.1, 0.0, 0.0, 0.0, 0.0]))
    first = objective(batch, keyed(16))
    objective.update(first.statistics)
    torch.testing.assert_close(objective.mean_kl, torch.tensor([4.5, 0.005, 0.0], dtype=torch.float64))
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
    assert set(metrics) == {"reconstruction", "kl", "bound"}
    torch.testing.assert_close(metrics["bound"], model.elbo(batch.x, noise=keyed(16)).bound)
    torch.testing.assert_close(metrics["bound"], metrics["reconstruction"] - metrics["kl"])
