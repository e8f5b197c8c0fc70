"""Splines at their edges, and flows that learn."""

import math

import pytest
import torch
from maquette.core.config import parse
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.families.flows.autoregressive import AutoregressiveFlowConfig
from maquette.core.families.flows.circular_spline import CircularSplineConfig
from maquette.core.families.flows.continuous import ContinuousConfig
from maquette.core.families.flows.coupling import CouplingConfig
from maquette.core.families.flows.dequantised import VariationalConfig
from maquette.core.families.flows.linear import LinearConfig, LULinear
from maquette.core.families.flows.monotonic import MonotonicConfig
from maquette.core.families.flows.planar import PlanarConfig, PlanarTransform, RadialTransform
from maquette.core.families.flows.residual_flow import ResidualFlowConfig
from maquette.core.families.flows.spline import Spline, SplineConfig, SplineTransform
from maquette.core.nets.mlp import MLPConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Interval, Real, Torus, Vector
from maquette.core.testing.bench import draw, keyed, shaken
from maquette.core.testing.laws import LAWS
from zuko.transforms import MonotonicRQSTransform


def spline(scale=1.0, bins=6, bound=3.0, d=4):
    generator = torch.Generator().manual_seed(0)
    parameters = scale * torch.randn(1, Spline(bins, 1.0).size, d, generator=generator, dtype=torch.float64)
    return SplineTransform(parameters, bound)


def test_zero_parameters_make_the_identity():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)[:, None].expand(-1, 4)
    y, ladj = spline(scale=0).call_and_ladj(x)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(ladj, torch.zeros_like(x))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_monotonic_continuous_and_invertible_everywhere(scale):
    transform = spline(scale)
    # a fine grid, and the knots themselves
    x = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None].repeat(1, 4)
    x = torch.cat((x, transform.horizontal[0], torch.tensor([[-3.0], [3.0]]).expand(2, 4))).sort(dim=0).values
    y, ladj = transform.call_and_ladj(x)
    assert (y.diff(dim=0) >= 0).all()
    assert ladj.isfinite().all()
    torch.testing.assert_close(transform.inv(y), x, rtol=0, atol=1e-10 if scale < 2 else 1e-8)
    outside = x.abs() >= 3
    assert torch.equal(y[outside], x[outside])


def test_derivative_matches_autograd():
    transform = spline()
    x = (8 * torch.rand(200, 4, dtype=torch.float64) - 4).requires_grad_()
    y, ladj = transform.call_and_ladj(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(ladj, slope.log(), rtol=0, atol=1e-12)
    assert torch.equal(transform.log_abs_det_jacobian(x, y), ladj)


def test_agrees_with_zuko_on_the_same_knots():
    ours = spline()
    theirs = object.__new__(MonotonicRQSTransform)
    theirs.horizontal, theirs.vertical, theirs.derivatives = (
        knots.transpose(-1, -2).contiguous() for knots in (ours.horizontal, ours.vertical, ours.slopes)
    )
    x = 8 * torch.rand(200, 4, dtype=torch.float64) - 4
    for mine, zukos in zip(ours.call_and_ladj(x), theirs.call_and_ladj(x), strict=True):
        torch.testing.assert_close(mine, zukos, rtol=0, atol=1e-12)


def test_gradients_are_finite_at_the_edges():
    parameters = torch.zeros(1, Spline(4, 1.0).size, 1, requires_grad=True)
    x = torch.tensor([[-5.0], [5.0], [0.0], [1e6], [-5.0 + 1e-6]])
    transform = SplineTransform(parameters)
    y, ladj = transform.call_and_ladj(x)
    (y.sum() + ladj.sum() + transform.inv(x).sum()).backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_a_coupling_bends_one_half_by_the_other():
    flow = shaken(SplineConfig(transforms=2, hidden=(8,), bins=4), Vector(dim=6), None)
    _, first, second = flow.transforms
    x = torch.randn(6, dtype=torch.float64)
    for coupling, bent in ((first, slice(3, 6)), (second, slice(0, 3))):
        jacobian = torch.autograd.functional.jacobian(coupling(None), x)
        stays = [d for d in range(6) if d not in range(6)[bent]]
        assert torch.equal(jacobian[stays][:, stays], torch.eye(3, dtype=torch.float64))
        assert (jacobian[stays][:, bent] == 0).all()
        inner = jacobian[bent][:, bent]
        assert torch.equal(inner, inner.diagonal().diag())
        assert (jacobian[bent][:, stays] != 0).any()


@pytest.mark.parametrize("backwards", [False, True])
def test_an_autoregressive_jacobian_is_triangular(backwards):
    flow = shaken(SplineConfig(scheme="autoregressive", transforms=2, hidden=(16,), bins=4), Vector(dim=5), None)
    jacobian = torch.autograd.functional.jacobian(
        flow.transforms[int(backwards)](None), torch.randn(5, dtype=torch.float64)
    )
    above = jacobian.tril(-1) if backwards else jacobian.triu(1)
    assert (above == 0).all()
    assert (jacobian.diagonal() > 0).all()


@pytest.mark.parametrize(
    ("hidden", "context", "passes"),
    [((4, 3), 0, None), ((4,), 1, None), ((11, 3), 1, None), ((11, 11), 0, None), ((), 0, None), ((3,), 0, 4)],
)
def test_a_masked_network_sees_all_numbers_of_the_blocks_before(hidden, context, passes):
    condition = Vector(dim=context) if context else None
    config = AutoregressiveFlowConfig(transforms=1, hidden=hidden, passes=passes)
    network = shaken(config, Vector(dim=12), condition, scale=0.5).transforms[0].network
    context = torch.ones(1, context, dtype=torch.float64) if context else None
    x = torch.randn(12, dtype=torch.float64)
    seen = torch.autograd.functional.jacobian(lambda x: network(x[None], context)[0].sum(1), x) != 0
    (blocks,) = network.positions
    assert torch.equal(seen, blocks[:, None] > blocks)
    assert len(blocks.unique()) == (passes or 12)


def test_a_lone_number_is_bent_as_a_network_says():
    """Not as a linear function of the condition: twice a step there is not twice a step here."""
    for config, support in (
        (AutoregressiveFlowConfig(transforms=1, hidden=(8,)), Real()),
        (CircularSplineConfig(transforms=3, hidden=(8,), bins=4), Torus()),
    ):
        flow = shaken(config, Vector(dim=1, support=support), Vector(dim=1), scale=0.5)
        said = flow.transforms[-1].network(torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64))
        assert ((said[2] - said[1]) - (said[1] - said[0])).abs().max() > 1e-3
    assert len(flow.transforms) == 1 + 3


def test_a_monotonic_map_is_the_integral_of_its_slope():
    """Between any two points, in the tails, and where slopes rise and fall by orders of magnitude."""
    flow = shaken(MonotonicConfig(transforms=1, knots=33), Vector(dim=1), None, scale=1.0)
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        z = flow.encode(x)
        slope = (flow.log_prob(x) - flow.base.log_prob(z)).exp()
        again = flow.decode(z)
    assert slope.max() > 100 * slope.min()
    area = torch.cumulative_trapezoid(slope, dx=1e-4)
    torch.testing.assert_close(z[1:, 0] - z[0, 0], area, rtol=0, atol=1e-6)
    assert (z.diff(dim=0) > 0).all()
    torch.testing.assert_close(again, x, rtol=0, atol=1e-10)


def test_passes_make_blocks():
    flow = shaken(
        SplineConfig(scheme="autoregressive", transforms=1, hidden=(16,), bins=4, passes=2), Vector(dim=6), None
    )
    z = torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(flow.encode(flow.decode(z)), z, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (SplineConfig, {"bins": 1001}),
        (SplineConfig, {"bound": math.inf}),
        (SplineConfig, {"hidden": (-1,)}),
        (CircularSplineConfig, {"bins": 1001}),
        (CouplingConfig, {"hidden": (8, 0)}),
        (AutoregressiveFlowConfig, {"hidden": (0,)}),
        (MonotonicConfig, {"slope": (-1,)}),
        (ResidualFlowConfig, {"hidden": (0,)}),
        (VariationalConfig, {"hidden": (0,)}),
        (MLPConfig, {"hidden": (0,)}),
    ],
)
def test_impossible_numbers_are_refused(config, wrong):
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}(\.\d)?: Input should be"):
        parse(config, wrong)


@pytest.mark.parametrize(
    ("config", "dim", "sentence"),
    [
        (SplineConfig(), 1, "needs at least 2 features per sample, found 1; use an autoregressive"),
        (SplineConfig(transforms=3), 4, "couplings come in pairs, found 3"),
    ],
)
def test_impossible_flows_are_refused(config, dim, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.build(Vector(dim=dim))


@pytest.mark.parametrize("config", [SplineConfig(transforms=2, hidden=(16,), bins=4), SplineConfig.example()])
def test_a_flow_compiles_as_one_graph(config):
    torch._dynamo.reset()
    flow = shaken(config, Vector(dim=4), Vector(dim=1))
    rows, context = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    expected = flow(rows, context)
    flow.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(flow(rows, context), expected)


@pytest.mark.parametrize(
    "config",
    [SplineConfig(transforms=2, hidden=(32,)), SplineConfig(scheme="autoregressive", transforms=1, hidden=(32,))],
)
def test_a_flow_learns_a_conditional_law(config):
    """From a start at 2.9 nats to within 0.15 of the entropy of a shifted, scaled and correlated normal."""
    torch.manual_seed(0)
    flow = config.build(Vector(dim=2), Vector(dim=1))
    generator = torch.Generator().manual_seed(1)
    root = torch.tensor([[0.5, 0.0], [0.3, 0.2]])

    def batch(n):
        c = torch.randn(n, 1, generator=generator)
        return Batch(torch.randn(n, 2, generator=generator) @ root.T + c, c, torch.arange(n))

    objective = flow.stages()[0].players[0].objective
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for step in range(200):
        data = batch(256)
        optimizer.zero_grad()
        objective(data, KeyedNoise(0, data.index, step=step)).losses.mean().backward()
        optimizer.step()
    test = batch(4000)
    entropy = 1 + torch.log(torch.tensor(2 * torch.pi)) + torch.log(root.det())
    found = -flow.log_prob(test.x, test.condition).mean()
    assert entropy - 0.05 < found < entropy + 0.15


def test_a_linear_flow_is_a_gaussian_of_full_covariance():
    """Its density is that of N(A z, A A^T) in closed form, and LU factors rebuild the matrix they were made of."""
    flow = shaken(LinearConfig(), Vector(dim=4), Vector(dim=2))
    c = torch.randn(1, 2, dtype=torch.float64).expand(50, 2)
    mean = flow.decode(torch.zeros(50, 4, dtype=torch.float64), c)
    root = (flow.decode(torch.eye(4, dtype=torch.float64), c[:4]) - mean[:4]).T
    law = torch.distributions.MultivariateNormal(mean[0], root @ root.T)
    x = torch.randn(50, 4, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x, c), law.log_prob(x), rtol=0, atol=1e-10)
    start = torch.randn(5, 5, dtype=torch.float64)
    y, ladj = LULinear(start)(None).call_and_ladj(torch.eye(5, dtype=torch.float64).flatten()[None])
    torch.testing.assert_close(y.view(5, 5), start)
    torch.testing.assert_close(ladj[0], 5 * torch.linalg.slogdet(start).logabsdet)


@pytest.mark.parametrize("transform", [PlanarTransform, RadialTransform])
def test_steps_stay_invertible_whatever_their_parameters(transform):
    parameters = 4 * torch.randn(500, 9 if transform is PlanarTransform else 6, dtype=torch.float64)
    step, x = transform(parameters), 3 * torch.randn(500, 4, dtype=torch.float64)
    y, ladj = step.call_and_ladj(x)
    assert ladj.isfinite().all()
    torch.testing.assert_close(step.inv(y), x, rtol=0, atol=1e-6)  # 500 steps, some within 1e-6 of folding over


@pytest.mark.parametrize(
    ("transform", "steep"), [(PlanarTransform, [1.0, -40.0, 0.0]), (RadialTransform, [0.0, 0.0, -40.0])]
)
def test_steps_do_not_fold_over_in_single_precision(transform, steep):
    _, ladj = transform(torch.tensor(steep)).call_and_ladj(torch.zeros(1, 1))
    assert ladj.isfinite().all()


def test_the_inverse_of_a_planar_step_has_the_derivatives_of_the_implicit_function():
    parameters = torch.randn(9, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, y: PlanarTransform(p).inv(y), (parameters, y))


def test_circular_splines_know_no_seam():
    """Moved by any number of turns an angle has the same density, which is smooth where the circle was cut."""
    period = 4.0
    flow = shaken(CircularSplineConfig.example(), Vector(dim=2, support=Torus(period=period)), None, scale=0.5)
    x = period * torch.rand(100, 2, dtype=torch.float64)
    turns = torch.randint(-3, 4, (100, 2)).double()
    torch.testing.assert_close(flow.log_prob(x + period * turns), flow.log_prob(x), rtol=0, atol=1e-9)
    for seam in (0.0, period / 2):
        left, right = (
            flow.log_prob(torch.cat((torch.full_like(x[:, :1], seam + e), x[:, 1:]), 1)) for e in (-1e-11, 1e-11)
        )
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)
    samples = flow.sample(200, noise=keyed(200))
    assert (samples >= 0).all()
    assert (samples < period).all()


VARIANTS = [
    CouplingConfig(bijection="additive", transforms=2, hidden=(8,)),
    AutoregressiveFlowConfig(quick="sampling", transforms=2, hidden=(8,)),
    SplineConfig(scheme="coupling", transforms=2, hidden=(8,), bins=4),
    PlanarConfig(shape="radial", steps=3),
]


@pytest.mark.parametrize("law", ["normalised", "sample-density", "inverse", "log-det", "gradients", "losses"])
@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config.kind)
def test_variants_keep_the_laws_too(config, law):
    LAWS[law].check(config, Vector(dim=2), Vector(dim=2))


def test_the_slow_way_of_an_autoregressive_flow_is_the_other_ones_quick_way():
    """IAF is MAF turned round: with the same weights each encodes as the other decodes."""
    maf, iaf = (
        shaken(AutoregressiveFlowConfig(quick=quick, transforms=1, hidden=(8,)), Vector(dim=4), None)
        for quick in ("density", "sampling")
    )
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(iaf.encode(x), maf.decode(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(iaf.decode(x), maf.encode(x), rtol=0, atol=1e-10)


def test_additive_couplings_keep_volumes_and_scales_do_the_rest():
    flow = shaken(CouplingConfig(bijection="additive", transforms=2, hidden=(8,)), Vector(dim=4), None)
    *bent, scales = flow.transforms
    rows = torch.randn(6, 4, dtype=torch.float64)
    for lazy in bent:
        rows, ladj = lazy(None).call_and_ladj(rows)
        assert torch.equal(ladj, torch.zeros(6, dtype=torch.float64))
    assert (scales(None).call_and_ladj(rows)[1] != 0).all()


def test_numbers_of_an_interval_stay_in_it():
    space = Vector(dim=3, support=Interval(low=-2.0, high=5.0))
    flow = shaken(SplineConfig(transforms=2, hidden=(8,), bins=4), space, None, scale=1.0)
    x = flow.sample(500, noise=keyed(500))
    assert ((x >= -2) & (x <= 5)).all()
    uniform = SplineConfig(transforms=2).build(space)
    torch.testing.assert_close(uniform.log_prob(x.float()), torch.full((500,), -3 * math.log(7.0)))


@pytest.mark.parametrize(("method", "coupled"), [("rk4", False), ("dopri5", True)])
def test_adaptive_steps_couple_a_batch(method, coupled):
    config = ContinuousConfig.example().model_copy(update={"method": method})
    assert config.build(Vector(dim=2)).stages()[0].players[0].objective.coupled is coupled


def test_an_estimated_divergence_gives_the_exact_likelihood_on_average():
    space, n = Vector(dim=3), 4000
    config = ContinuousConfig(network=MLPConfig(hidden=(8,)), steps=16)
    batch = Batch(torch.tensor([[0.4, -1.0, 0.2]], dtype=torch.float64).expand(n, 3), None, torch.arange(n))
    losses = {}
    for trace in ("hutchinson", "exact"):
        model = shaken(config.model_copy(update={"trace": trace}), space, None, scale=0.5)
        losses[trace] = model.stages()[0].players[0].objective(batch, keyed(n)).metrics["nll"].detach()
    error = losses["hutchinson"].std() / math.sqrt(n)
    assert losses["exact"].std() < 1e-12 < error
    assert abs(losses["hutchinson"].mean() - losses["exact"][0]) < 4 * error


def test_steps_that_err_are_seen_to():
    """The error in the loss is no less than that of the steps, and falls with their fourth power."""
    space, n = Vector(dim=2), 200
    batch = Batch(draw(space, n, seed=1), None, torch.arange(n))
    errors = []
    for steps in (4, 8, 16):
        config = ContinuousConfig(network=MLPConfig(hidden=(8,)), trace="exact", steps=steps)
        model = shaken(config, space, None, scale=0.5)
        metrics = model.stages()[0].players[0].objective(batch, keyed(n)).metrics
        with torch.no_grad():
            away = metrics["nll"] + model.log_prob(batch.x) / 2
        assert metrics["error"].mean() > away.abs().mean()
        errors.append(metrics["error"].mean())
    assert errors[0] > 8 * errors[1] > 64 * errors[2] > 0
