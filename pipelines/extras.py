"""Optional dependencies: which extra brings a module, and the line that installs it."""

from __future__ import annotations

EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "compress": ("constriction",),
    "molecules": ("rdkit", "torch_geometric", "selfies"),
    "cosmology": ("astropy",),
    "mri": ("sigpy", "ismrmrd", "nibabel"),
    "microstructure": ("pymatgen", "tifffile"),
    "cluster": ("psutil",),
}
"""Modules that each extra brings."""


def install_line(extra: str) -> str:
    """What to type to get an extra."""
    return f'pip install "maquette[{extra}]"'


def remedy(module: str | None) -> str | None:
    """The line that installs a missing module; None if no extra brings it."""
    top = (module or "").partition(".")[0]
    return next((install_line(extra) for extra, modules in EXTRAS.items() if top in modules), None)
