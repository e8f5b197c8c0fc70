"""Showers to tensors and back: the codec and its parts, and the symmetries of a geometry."""
