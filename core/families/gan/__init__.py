"""Adversarial models: a generator trained against a critic."""
