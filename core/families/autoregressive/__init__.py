"""Autoregressive models: exact densities by the product rule, one number after the other."""
