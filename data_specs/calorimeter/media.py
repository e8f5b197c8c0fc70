"""Materials and stacks, which set the length scales of an electromagnetic shower.

Constants of the elements are those of the Particle Data Group's tables of atomic and nuclear properties. Critical
energy, Moliere radius and the rules for mixtures are those of Grindhammer and Peters, hep-ex/0001020, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SCATTERING_ENERGY = 21.2  # MeV, the energy scale of multiple scattering


@dataclass(frozen=True)
class Material:
    """An element or a mixture.

    Attributes:
        name: for messages.
        z: atomic number (mass-weighted in a mixture).
        a: atomic weight, g/mol.
        density: g/cm^3.
        depth: radiation length, g/cm^2.
        critical_energy: MeV.

    >>> iron = Material("Fe", z=26, a=55.845, density=7.874, depth=13.84, critical_energy=21.68)
    >>> round(iron.radiation_length, 1), round(iron.moliere_radius, 1)  # mm
    (17.6, 17.2)
    """

    name: str
    z: float
    a: float
    density: float
    depth: float
    critical_energy: float

    @property
    def radiation_length(self) -> float:
        """X0, mm."""
        return 10 * self.depth / self.density

    @property
    def moliere_radius(self) -> float:
        """R_M, mm: 90 % of a shower lies within about one of it."""
        return self.radiation_length * SCATTERING_ENERGY / self.critical_energy


def element(name: str, z: float, a: float, density: float, depth: float) -> Material:
    """An element with the critical energy 2.66 MeV (X0 Z / A)^1.1, X0 = `depth` in g/cm^2.

    >>> copper = element("Cu", z=29, a=63.546, density=8.96, depth=12.86)
    >>> round(copper.radiation_length, 1), round(copper.moliere_radius, 1)  # mm
    (14.4, 16.3)
    """
    return Material(name, z, a, density, depth, 2.66 * (depth * z / a) ** 1.1)


def mixture(name: str, density: float, parts: Iterable[tuple[Material, float]]) -> Material:
    """A mixture of materials with the given masses (any common unit); density in g/cm^3.

    >>> alloy = mixture("W/Pb", 15.0, [(TUNGSTEN, 1.0), (LEAD, 1.0)])
    >>> round(alloy.depth, 2), round(alloy.z, 1)  # g/cm^2
    (6.56, 78.0)
    """
    parts = tuple(parts)
    total = sum(mass for _, mass in parts)
    fractions = [(part, mass / total) for part, mass in parts]
    depth = 1 / sum(fraction / part.depth for part, fraction in fractions)
    return Material(
        name,
        z=sum(fraction * part.z for part, fraction in fractions),
        a=sum(fraction * part.a for part, fraction in fractions),
        density=density,
        depth=depth,
        critical_energy=depth * sum(fraction * part.critical_energy / part.depth for part, fraction in fractions),
    )


@dataclass(frozen=True)
class Stack:
    """A sampling calorimeter: passive and active plates in turn.

    Attributes:
        passive, active: the two materials.
        passive_depth, active_depth: thickness of one plate of each, mm.

    >>> Stack(LEAD, 2.0, ARGON, 4.0).period  # mm
    6.0
    >>> round(LEAD_ARGON.effective.radiation_length, 1), round(LEAD_ARGON.effective.moliere_radius, 1)
    (15.6, 36.8)
    """

    passive: Material
    passive_depth: float
    active: Material
    active_depth: float

    @property
    def period(self) -> float:
        """Depth of one pair of plates, mm."""
        return self.passive_depth + self.active_depth

    @property
    def effective(self) -> Material:
        """The homogeneous medium with the stack's mean properties."""
        masses = (
            (self.passive, self.passive.density * self.passive_depth),
            (self.active, self.active.density * self.active_depth),
        )
        density = sum(mass for _, mass in masses) / self.period
        return mixture(f"{self.passive.name}/{self.active.name}", density, masses)

    @property
    def sampling_frequency(self) -> float:
        """F_s: effective radiation length over the depth of one pair of plates."""
        return self.effective.radiation_length / self.period

    @property
    def electron_to_mip(self) -> float:
        """e_hat = 1 / (1 + 0.007 (Z_passive - Z_active)): response to electrons over that to minimum ionisation."""
        return 1 / (1 + 0.007 * (self.passive.z - self.active.z))


OXYGEN = element("O", 8, 15.999, 1.332e-3, 34.24)
SILICON = element("Si", 14, 28.0855, 2.329, 21.82)
ARGON = element("liquid Ar", 18, 39.948, 1.396, 19.55)
TUNGSTEN = element("W", 74, 183.84, 19.3, 6.76)
LEAD = element("Pb", 82, 207.2, 11.35, 6.37)

LEAD_TUNGSTATE = mixture("PbWO4", 8.30, ((LEAD, LEAD.a), (TUNGSTEN, TUNGSTEN.a), (OXYGEN, 4 * OXYGEN.a)))
TUNGSTEN_SILICON = Stack(TUNGSTEN, 1.4, SILICON, 0.3)
LEAD_ARGON = Stack(LEAD, 2.0, ARGON, 4.0)
