"""The version of the package: a leaf, which any part may import."""

__version__ = "0.1.0"
