"""Sampling algorithms as pure functions of a model's field, conditionals or transition, and of a start."""
