"""Diagonal normal distributions against those of torch."""

import torch
from maquette.core.families.vae.gaussian import DiagonalNormal


def test_the_kl_of_normals_is_that_of_torch():
    p, q = (DiagonalNormal.from_parameters(torch.randn(4, 6, dtype=torch.float64)) for _ in range(2))
    ours = p.kl(q)
    normal = torch.distributions.Normal
    a, b = normal(p.mean, p.log_scale.exp()), normal(q.mean, q.log_scale.exp())
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(a, b))
    z = p.reparametrise(torch.randn(4, 3, dtype=torch.float64))
    torch.testing.assert_close(p.log_prob(z), a.log_prob(z))


def test_a_shift_adds_means_and_multiplies_scales():
    p, by = (DiagonalNormal.from_parameters(torch.randn(4, 6, dtype=torch.float64)) for _ in range(2))
    shifted = p.shifted(by)
    torch.testing.assert_close(shifted.mean, p.mean + by.mean)
    torch.testing.assert_close(shifted.log_scale.exp(), p.log_scale.exp() * by.log_scale.exp())
    assert (p.shifted(DiagonalNormal.standard(p.mean)).kl(p) == 0).all()


def test_scales_are_bounded_softly():
    raw = torch.tensor([[0.0, -1e6, 1e6]]).requires_grad_()
    normal = DiagonalNormal.from_parameters(torch.cat((raw, raw), dim=1))
    assert normal.log_scale.tolist() == [[0.0, -7.0, 7.0]]
    assert normal.log_scale.exp().isfinite().all()
