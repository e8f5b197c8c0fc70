"""Autoregressive models: exact densities by the chain rule, one feature after the other."""
