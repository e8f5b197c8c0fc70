"""Samplers as pure functions of a model's capability and a start."""
