"""Sampling algorithms as pure functions: of a velocity field, of conditional distributions, of a Markov kernel."""
