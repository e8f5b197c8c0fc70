"""Constrained sampling: exact masses, exact zeros, the same draws where all is allowed."""

import itertools

import pytest
import torch
from maquette.core.constraint import Path
from maquette.core.errors import ConfigError, SpaceError
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.inference.compress import compress, decompress
from maquette.core.inference.constrained import Constrained, Prefix
from maquette.core.inference.impute import impute
from maquette.core.likelihoods.logistic import LogisticMixtureConfig
from maquette.core.spaces import Binary, Field, Levels, Sequence, Vector, flatten, unflatten
from maquette.core.testing.bench import all_states, keyed, shaken

STEPWISE = {
    "transformer": TransformerConfig.example(),
    "recurrent": RecurrentConfig.example(),
    "wavenet": WaveNetConfig.example(),
    "made": MADEConfig.example(),
    "nade": NADEConfig.example(),
    "fvsbn": FVSBNConfig(),
}
"""Networks with a cache of keys and values, of a state, of convolutions, of sums, and without one."""
ROW = Vector(dim=4, support=Levels(count=3))
WORDS = Sequence(length=4, vocabulary=3, variable=True)


class Anything:
    def __init__(self, count):
        self.count = count

    def start(self, n, condition=None, *, device=None):
        return torch.zeros(n, 0, device=device)

    def allowed(self, state):
        return torch.ones(len(state), self.count, dtype=torch.bool)

    def advance(self, state, level):
        return state


class Budget(Anything):
    """The sum of the levels stays within a budget; an end, if there is one, only comes at an even sum."""

    def __init__(self, count, budget=3, end=None):
        super().__init__(count)
        self.budget, self.end = budget, end

    def start(self, n, condition=None, *, device=None):
        return {"spent": torch.zeros(n, dtype=torch.int64, device=device)}

    def allowed(self, state):
        level = torch.arange(self.count)
        allowed = state["spent"][:, None] + level <= self.budget
        if self.end is not None:
            allowed[:, self.end] = state["spent"] % 2 == 0
        return allowed

    def advance(self, state, level):
        return {"spent": state["spent"] + level}


class DeadEnd(Anything):
    """Nothing is allowed after a two."""

    def start(self, n, condition=None, *, device=None):
        return torch.zeros(n, dtype=torch.bool, device=device)

    def allowed(self, state):
        return (~state)[:, None].expand(-1, self.count)

    def advance(self, state, level):
        return level == 2


@pytest.mark.parametrize("name", STEPWISE)
def test_samples_are_the_same_to_the_bit_where_all_is_allowed(name):
    model = shaken(STEPWISE[name], ROW, Vector(dim=2)).float()
    condition, noise = torch.randn(50, 2), keyed(50, dtype=torch.float32)
    with torch.no_grad():
        plain = model.sample(50, condition, noise=noise)
        free = Constrained(model, Anything(3)).sample(50, condition, noise=noise)
    assert torch.equal(free, plain)
    assert free.dtype == plain.dtype


@pytest.mark.parametrize("support", [Binary(), Levels(count=3)], ids=lambda support: support.kind)
def test_a_field_in_raster_order_is_drawn_alike_where_all_is_allowed(support):
    space = Field(channels=2, grid=(2, 2), support=support)
    model = shaken(PixelCNNConfig.example(), space, None)
    with torch.no_grad():
        plain = model.sample(20, noise=keyed(20))
        free = Constrained(model, Anything(2 if isinstance(support, Binary) else 3)).sample(20, noise=keyed(20))
    assert torch.equal(free, plain)


@pytest.mark.parametrize("name", STEPWISE)
def test_masses_are_those_of_the_model_renormalised_step_by_step(name):
    """Enumerated: the conditional of a level over the sum of those allowed, in the order of drawing."""
    model = shaken(STEPWISE[name], ROW, None, scale=0.5)
    states = all_states(ROW)
    with torch.no_grad():
        found = Constrained(model, Budget(3)).log_prob(states).exp()
        conditionals = model.conditionals(states).softmax(2)
    expected = torch.ones(len(states), dtype=torch.float64)
    for row, state in enumerate(states.tolist()):
        spent = 0
        for i in model.order.tolist():
            allowed = [level for level in range(3) if spent + level <= 3]
            total = sum(conditionals[row, i, level] for level in allowed)
            expected[row] *= conditionals[row, i, state[i]] / total if state[i] in allowed else 0
            spent += state[i]
    torch.testing.assert_close(found, expected)
    assert found.sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["transformer", "recurrent", "wavenet"])
def test_samples_follow_these_masses_and_nothing_else_is_drawn(name):
    """Tokens of variable length whose end is forbidden at times: a mean of q / p, and every state of some mass."""
    model = Constrained(shaken(STEPWISE[name], WORDS, None, scale=0.5), Budget(4, end=3))
    states, n = all_states(WORDS), 3000
    with torch.no_grad():
        masses = model.log_prob(unflatten(WORDS, states)).exp()
        drawn = flatten(WORDS, model.sample(n, noise=keyed(n)))
    assert masses.sum().item() == pytest.approx(1, abs=1e-12)
    counts = (drawn[:, None] == states).all(2).sum(0)
    assert counts.sum() == n
    assert (counts[masses == 0] == 0).all()
    likely = masses * n > 5
    chi2 = ((counts - n * masses).square() / (n * masses))[likely].sum().item()
    assert chi2 < likely.sum() + 4 * (2 * likely.sum()) ** 0.5


def test_a_sum_over_legal_endings_only():
    """Samples end at an even sum or at full length, within the budget."""
    model = Constrained(shaken(STEPWISE["transformer"], WORDS, None), Budget(4, end=3))
    with torch.no_grad():
        x = model.sample(500, noise=keyed(500))
    total = x["tokens"].sum(1)
    assert (total <= 3).all()
    assert ((total % 2 == 0) | (x["length"] == 4)).all()
    assert x["length"].unique().tolist() == [0, 1, 2, 3, 4]


def test_a_prefix_is_a_constraint_and_constraints_may_be_one_around_the_other():
    model = shaken(STEPWISE["transformer"], ROW, None, scale=0.5)
    given = torch.tensor([[1, 1], [0, 2], [2, 0]])
    both = Constrained(Constrained(model, Budget(3)), Prefix(given, 3))
    with torch.no_grad():
        x = both.sample(3, noise=keyed(3))
        rest = torch.tensor(list(itertools.product(range(3), repeat=2)))
        for row in range(3):
            whole = torch.cat((given[row].expand(9, 2), rest), dim=1)
            one = Constrained(Constrained(model, Budget(3)), Prefix(given[row].expand(9, 2), 3))
            assert one.log_prob(whole).exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(x[:, :2], given)
    assert (x.sum(1) <= 3).all()
    with pytest.raises(SpaceError, match="prefix: expected 2 rows, one per sample, found 3"):
        both.sample(2, noise=keyed(2))


def test_imputation_and_compression_work_under_a_constraint():
    model = Constrained(shaken(STEPWISE["recurrent"], ROW, None, scale=0.5), Budget(3))
    with torch.no_grad():
        x = model.sample(40, noise=keyed(40))
    assert torch.equal(decompress(model, compress(model, x)), x)
    known = torch.tensor([[True, False, False, False]])
    filled = impute(model, torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0]]), known, noise=keyed(2), particles=4)
    assert filled.exact.all()
    assert (filled.particles.sum(2) <= 3).all()


def test_a_state_without_a_way_on_is_an_error_and_not_a_wrong_sample():
    model = shaken(FVSBNConfig(), ROW, None)
    with pytest.raises(SpaceError, match="can draw none of the allowed levels"), torch.no_grad():
        Constrained(model, DeadEnd(3)).sample(200, noise=keyed(200))
    coins = shaken(FVSBNConfig(), Vector(dim=3, support=Binary()), None)
    one, other = Prefix(torch.tensor([[1]]), 2), Prefix(torch.tensor([[0]]), 2)
    with pytest.raises(SpaceError, match="can draw none of the allowed levels"), torch.no_grad():
        Constrained(Constrained(coins, one), other).sample(1, noise=keyed(1))


def test_a_constraint_sees_the_condition_and_what_has_ended_does_not_move():
    class Given(Budget):
        def start(self, n, condition=None, *, device=None):
            return {"spent": condition[:, 0].long()}

    words = Constrained(shaken(STEPWISE["transformer"], WORDS, Vector(dim=1)), Given(4, end=3))
    with torch.no_grad():
        x = words.sample(100, torch.tensor([[3.0], [2.0]]).double().repeat(50, 1), noise=keyed(100))
    assert (x["tokens"][::2] == 0).all()
    assert (x["tokens"][1::2].sum(1) <= 1).all()

    class Dear(Budget):
        def advance(self, state, level):
            return {"spent": state["spent"] + level + 1}

    path = Path.begin(Dear(4, end=3), 2, end=3).advance(torch.tensor([3, 2])).advance(torch.tensor([3, 2]))
    assert path.going.tolist() == [False, False], "one has ended, the other left what is allowed"
    assert path.state["spent"].tolist() == [0, 3]
    assert path.allowed().all()


@pytest.mark.parametrize(
    "model",
    [
        VAEConfig().build(Vector(dim=3, support=Binary())),
        MADEConfig(masks=2).build(ROW),
        FVSBNConfig().build(Vector(dim=2)),
        FVSBNConfig(likelihood=LogisticMixtureConfig()).build(ROW),
    ],
    ids=["vae", "ensemble", "real", "mixture"],
)
def test_a_model_that_draws_no_levels_one_by_one_is_refused(model):
    with pytest.raises(ConfigError, match="constraint: expected a model that draws levels feature by feature"):
        Constrained(model, Anything(3))
