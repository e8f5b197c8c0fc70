"""Figures of generated and reference showers."""
