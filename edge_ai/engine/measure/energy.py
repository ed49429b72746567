"""Energy of the processor packages from RAPL, where the kernel lets this user read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

RAPL: Final = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class EnergyReading:
    """Microjoules by package since some moment, and the value at which each counter starts again at zero."""

    energy_uj: dict[str, int]
    range_uj: dict[str, int]


def read_energy(rapl: Path = RAPL) -> EnergyReading | str:
    """Read the counters of all packages, or say in words why that is not possible."""
    packages = sorted(rapl.glob("intel-rapl:[0-9]*")) if rapl.is_dir() else []
    # Names with a second number are parts of a package (cores, memory controller) and are counted in it already.
    packages = [package for package in packages if package.name.count(":") == 1]
    if not packages:
        return "this machine has no RAPL energy counters (usual on virtual machines and on processors without them)"
    energy: dict[str, int] = {}
    wrap: dict[str, int] = {}
    try:
        for package in packages:
            energy[package.name] = int((package / "energy_uj").read_text())
            wrap[package.name] = int((package / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return "this user may not read the RAPL energy counters (the kernel reserves them to root by default)"
    return EnergyReading(energy_uj=energy, range_uj=wrap)


def energy_between_mj(before: EnergyReading, after: EnergyReading) -> float:
    """Return the millijoules between two readings, allowing for one overflow of each counter."""
    total_uj = 0
    for name, start in before.energy_uj.items():
        used = after.energy_uj[name] - start
        total_uj += used if used >= 0 else used + before.range_uj[name] + 1
    return total_uj / 1e3
