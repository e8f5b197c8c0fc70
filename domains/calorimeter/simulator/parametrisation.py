"""The formulas of GFLASH: Grindhammer and Peters, hep-ex/0001020, sections 2 and 3, and appendix.

Energies in GeV, depths in radiation lengths, radii in Moliere radii; y is the energy over the critical energy. All
arguments and results broadcast: showers along the first axis, steps in depth along the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .media import Calorimeter

LOWEST_ALPHA = 1.05
"""A profile with a smaller exponent has no maximum inside the calorimeter; such draws are repeated."""


class Profile(NamedTuple):
    """dE/dt ~ (beta t)^(alpha - 1) exp(-beta t) with beta = (alpha - 1) / T; each tensor (B, 1).

    >>> profile = Profile(maximum=torch.tensor([[5.0]]), alpha=torch.tensor([[3.5]]))
    >>> profile.within(torch.tensor([[5.0, 100.0]]))  # fraction before the maximum, and of all
    tensor([[0.3400, 1.0000]])
    """

    maximum: Tensor
    alpha: Tensor

    def within(self, t: Tensor) -> Tensor:
        """Fraction of the energy before depth t, (B, S)."""
        beta = (self.alpha - 1) / self.maximum
        return torch.special.gammainc(*torch.broadcast_tensors(self.alpha, beta * t))


class Radial(NamedTuple):
    """A fraction `core` of the energy with scale `r_core`, the rest with `r_tail`; densities 2 r R^2/(r^2 + R^2)^2."""

    core: Tensor
    r_core: Tensor
    r_tail: Tensor


@dataclass(frozen=True)
class Parametrisation:
    """Shower shapes in a calorimeter.

    >>> from maquette.domains.calorimeter.simulator.media import CALORIMETERS
    >>> shapes = Parametrisation(CALORIMETERS["lead-tungstate"])
    >>> energy = torch.tensor([[1.0], [10.0]])  # GeV
    >>> shapes.mean_maximum(energy)  # X0; ten times the energy is ln 10 = 2.3 deeper
    tensor([[3.8708],
            [6.1734]])
    >>> profile = shapes.draw(energy, z=torch.zeros(2, 1, 2))
    >>> profile.within(torch.tensor([[5.0, 25.0]]))  # fraction of the energy before these depths
    tensor([[0.4858, 0.9998],
            [0.2277, 0.9987]])
    """

    calorimeter: Calorimeter

    @property
    def _z(self) -> float:
        return self.calorimeter.material.z

    @property
    def _sampling(self) -> tuple[float, float] | None:
        """(F_s, 1 - e_hat) of a stack."""
        stack = self.calorimeter.stack
        return None if stack is None else (stack.sampling_frequency, 1 - stack.electron_to_mip)

    def _log_y(self, energy: Tensor) -> Tensor:
        return torch.log(1000 * energy / self.calorimeter.material.critical_energy)

    def mean_maximum(self, energy: Tensor) -> Tensor:
        """exp<ln T>, X0."""
        t = self._log_y(energy) - 0.812 + self.calorimeter.shift
        return t if self._sampling is None else t - 0.55 / self._sampling[0] - 0.69 * self._sampling[1]

    def mean_alpha(self, energy: Tensor) -> Tensor:
        """exp<ln alpha>."""
        alpha = 0.81 + (0.458 + 2.26 / self._z) * self._log_y(energy)
        return alpha if self._sampling is None else alpha - 0.476 / self._sampling[0]

    def draw(self, energy: Tensor, z: Tensor) -> Profile:
        """Longitudinal profiles of single showers.

        ln T and ln alpha are normal and correlated.

        Args:
            energy: (B, 1).
            z: standard normal noise, (B, tries, 2); the first try with alpha > 1.05 is taken.
        """
        log_y = self._log_y(energy)
        if self._sampling is None:
            sigma_t, sigma_a = 1 / (-1.4 + 1.26 * log_y), 1 / (-0.58 + 0.86 * log_y)
            rho = 0.705 - 0.023 * log_y
        else:
            sigma_t, sigma_a = 1 / (-2.5 + 1.25 * log_y), 1 / (-0.82 + 0.79 * log_y)
            rho = 0.784 - 0.023 * log_y
        along, across = torch.sqrt((1 + rho) / 2) * z[..., 0], torch.sqrt((1 - rho) / 2) * z[..., 1]
        maximum = self.mean_maximum(energy) * torch.exp(sigma_t * (along + across))
        alpha = self.mean_alpha(energy) * torch.exp(sigma_a * (along - across))
        first = (alpha > LOWEST_ALPHA).to(torch.uint8).argmax(dim=1, keepdim=True)
        return Profile(maximum.gather(1, first), alpha.gather(1, first).clamp_min(LOWEST_ALPHA))

    def relative_depth(self, t: Tensor, energy: Tensor, profile: Profile) -> Tensor:
        """tau: depth in units of the shower's centre of gravity, scaled so that tau = 1 near the maximum, (B, S)."""
        mean = self.mean_alpha(energy)
        center = profile.maximum * profile.alpha / (profile.alpha - 1)
        return t / center * mean / (mean - 1)

    def radial(self, tau: Tensor, energy: Tensor) -> Radial:
        """Radial profile at relative depth tau, (B, S).

        >>> from maquette.domains.calorimeter.simulator.media import CALORIMETERS
        >>> shapes = Parametrisation(CALORIMETERS["lead-tungstate"])
        >>> shapes.radial(tau=torch.tensor([[1.0]]), energy=torch.tensor([[10.0]]))  # GeV; radii in Moliere radii
        Radial(core=tensor([[0.8782]]), r_core=tensor([[0.1226]]), r_tail=tensor([[0.7045]]))
        """
        z, log_e = self._z, torch.log(energy)
        r_core = 0.0251 + 0.00319 * log_e + (0.1162 - 0.000381 * z) * tau
        k = 0.659 - 0.00309 * z
        r_tail = k * (torch.exp(-2.59 * (tau - 0.645)) + torch.exp((0.3585 + 0.0412 * log_e) * (tau - 0.645)))
        s = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log_e)
        core = (2.632 - 0.00094 * z) * torch.exp(s - torch.exp(s))
        if self._sampling is not None:
            frequency, loss = self._sampling
            r_core = r_core - 0.0203 * loss + 0.0397 * torch.exp(-tau) / frequency
            r_tail = r_tail - 0.14 * loss - 0.495 * torch.exp(-tau) / frequency
            core = core + loss * (0.348 - 0.642 * torch.exp(-((tau - 1) ** 2)) / frequency)
        return Radial(core.clamp(0, 1), r_core.clamp_min(1e-3), r_tail.clamp_min(1e-2))

    def spots(self, energy: Tensor, profile: Profile) -> tuple[Tensor, Profile]:
        """Number of energy spots (B, 1), and their distribution in depth."""
        z = self._z
        if self.calorimeter.stack is None:
            number = 93 * torch.log(torch.tensor(z)) * energy**0.876
            maximum, alpha = 0.698 + 0.00212 * z, 0.639 + 0.00334 * z
        else:
            number = 10.3 / self.calorimeter.sampling * energy**0.959
            maximum, alpha = 0.813 + 0.0019 * z, 0.844 + 0.0026 * z
        return number, Profile(profile.maximum * maximum, (profile.alpha * alpha).clamp_min(LOWEST_ALPHA))
