"""FVSBN: normalisation, and what a generalised linear model cannot learn."""

import math

import pytest
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig


def test_masses_of_1024_states_sum_to_one(total_mass):
    assert total_mass(FVSBNConfig()) == pytest.approx(1, abs=1e-10)


def test_a_parity_is_not_learned_without_hidden_units(nats_on_parity):
    assert nats_on_parity(FVSBNConfig()) == pytest.approx(math.log(8), abs=0.1)
