"""Normalizing flows: densities by change of variables."""
