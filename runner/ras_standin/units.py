"""Unit systems of a HEC-RAS project."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Units:
    """Constants and labels of a unit system.

    ``manning`` is the factor in ``K = manning / n * A * R**(2/3)``; HEC-RAS's property tables imply
    ``(1 / 0.3048) ** (1/3) = 1.48592`` for US units, not the 1.486 of its manual.
    """

    name: str
    gravity: float
    manning: float
    length: str
    flow: str
    velocity: str
    area: str
    length_long: str
    volume_long: str
    #: Volume unit of the accounting, and how many cubic length units it holds.
    account: str
    account_volume: float
    #: Weight of water per volume, for the shear stress, and the unit of the latter.
    water_weight: float
    stress: str


US_CUSTOMARY = Units(
    name="US Customary",
    gravity=32.174,
    manning=(1 / 0.3048) ** (1 / 3),
    length="ft",
    flow="cfs",
    velocity="ft/s",
    area="ft^2",
    length_long="Feet",
    volume_long="Feet^3",
    account="Acre Feet",
    account_volume=43560.0,
    water_weight=62.4,
    stress="lb/ft^2",
)

SI = Units(
    name="SI Units",
    gravity=9.80665,
    manning=1.0,
    length="m",
    flow="m^3/s",
    velocity="m/s",
    area="m^2",
    length_long="Meters",
    volume_long="Meters^3",
    account="1000 m^3",
    account_volume=1000.0,
    water_weight=9806.65,
    stress="N/m^2",
)
