"""Optional dependencies: which extra brings a module, and the line that installs it."""

from __future__ import annotations

import re
import shlex
import sys

_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
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
    """The command that installs the requirements of an extra into this Python.

    Not `maquette[EXTRA]`: a package index may have no package of this name, or someone else's.

    >>> install_line("cluster").partition(" -m ")[2]  # after the path of this Python
    'pip install "psutil..."'
    """
    return " ".join([shlex.quote(sys.executable), "-m pip install", *(f'"{one}"' for one in requirements(extra))])


def requirements(extra: str) -> list[str]:
    """The requirements of an extra, as the installed package states them.

    >>> requirements("cluster")
    ['psutil...']
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        stated = [one.partition(";") for one in requires("maquette") or ()]
    except PackageNotFoundError:  # it runs from its folder
        stated = []
    wanted = [name.strip() for name, _, marker in stated if _EXTRA.findall(marker) == [extra]]
    return wanted or list(EXTRAS[extra])


def install_line_of(module: str | None) -> str | None:
    """The command that installs a missing module; None if no extra brings it.

    >>> install_line_of("no_such_module") is None
    True
    """
    top = (module or "").partition(".")[0]
    return next((install_line(extra) for extra, modules in EXTRAS.items() if top in modules), None)
