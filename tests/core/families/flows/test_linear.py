"""Linear flows."""

import torch
from maquette.core.families.flows.linear import LinearConfig, LULinear
from maquette.core.spaces import Vector
from maquette.core.testing.bench import shaken


def test_a_linear_flow_is_a_gaussian_of_full_covariance():
    """Its density is that of N(A z, A A^T) in closed form, and LU factors rebuild the matrix they were made of."""
    flow = shaken(LinearConfig(), Vector(dim=4), Vector(dim=2))
    c = torch.randn(1, 2, dtype=torch.float64).expand(50, 2)
    mean = flow.decode(torch.zeros(50, 4, dtype=torch.float64), c)
    root = (flow.decode(torch.eye(4, dtype=torch.float64), c[:4]) - mean[:4]).T
    expected = torch.distributions.MultivariateNormal(mean[0], root @ root.T)
    x = torch.randn(50, 4, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x, c), expected.log_prob(x), rtol=0, atol=1e-10)
    start = torch.randn(5, 5, dtype=torch.float64)
    y, ladj = LULinear(start)(None).call_and_ladj(torch.eye(5, dtype=torch.float64).flatten()[None])
    torch.testing.assert_close(y.view(5, 5), start)
    torch.testing.assert_close(ladj[0], 5 * torch.linalg.slogdet(start).logabsdet)
