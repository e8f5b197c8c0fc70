"""The parts of a batch of showers: x is one tensor (B, voxels), its condition holds tensors by name."""

from __future__ import annotations

from torch import Tensor

from ...core.errors import SpaceError
from ...core.spaces import Tree
from ..conditions import named_conditions


def deposits(x: Tree) -> Tensor:
    """The deposits (B, voxels) of showers, MeV; raises `SpaceError` for named tensors."""
    if isinstance(x, Tensor):
        return x
    raise SpaceError(f"Expected showers as one tensor (B, voxels), found the named tensors {sorted(x)}.")


def incident_energy(condition: Tree | None) -> Tensor:
    """The incident energy (B, 1), MeV; raises `SpaceError` if it is missing.

    >>> import torch
    >>> incident_energy({"energy": torch.tensor([[5000.0]]), "particle": torch.tensor([[22]])})
    tensor([[5000.]])
    """
    named = named_conditions(condition)
    if "energy" not in named:
        raise SpaceError(f'Showers need the condition "energy" (B, 1) in MeV; found {sorted(named)}.')
    return named["energy"]
