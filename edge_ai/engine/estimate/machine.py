"""A device as an estimate sees it: what its published numbers allow, and what is missing. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.spec import Format

#: Whose operators can be told one by one before the device has run them.
ESTIMABLE: Final = (Format.ONNX, Format.ORT)
#: What an estimate cannot do without, in words.
NEEDED: Final[Mapping[str, str]] = {
    "peak_gflops_fp32": "the peak of its processor in fp32, in GFLOPS",
    "memory_bandwidth_gb_s": "the bandwidth of its memory, in GB/s",
}
INT8_PEAK: Final = "peak_tops_int8"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The published numbers of a device's processor, all cores together, each with its source.

    Parameters
    ----------
    peak_gflops_fp32
        10^9 operations per second, a multiplication and an addition being two.
    peak_tops_int8
        10^12 operations per second.
    memory_bandwidth_gb_s
        10^9 bytes per second.
    memory_mb
        1024 × 1024 bytes.
    sources
        By the names of the numbers.
    """

    name: str
    peak_gflops_fp32: float | None = None
    peak_tops_int8: float | None = None
    memory_bandwidth_gb_s: float | None = None
    cpu_cores: int | None = None
    cpu_frequency_mhz: float | None = None
    memory_mb: int | None = None
    architecture: str = ""
    accelerators: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Machine:
        """Return the machine that a JSON object describes; what it does not know is left out."""
        known = {item.name for item in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        return cls(**given | {name: tuple(given.get(name) or ()) for name in ("accelerators", "formats")})

    def missing(self) -> tuple[str, ...]:
        """Return which numbers an estimate lacks."""
        return tuple(name for name in NEEDED if not getattr(self, name))


def check_estimable(format: Format, machine: Machine) -> None:
    """Refuse an estimate that would be a guess.

    Raises
    ------
    UnsupportedError
        ``device_not_here``: the studio does not run on the device, and its numbers do not carry an estimate; or the format
        does not tell its operators before it runs.
    """
    if format not in ESTIMABLE:
        raise UnsupportedError(
            f"The studio does not run on a {machine.name}, and estimates for devices that are not here are made for ONNX and "
            f"ORT models only: in {format} the runtime's operators are not known one by one.",
            code="device_not_here",
            fix="Benchmark on “This machine”, or convert the model to ONNX and estimate that.",
            field="device_profile",
            details={"nearest": {"device_profile": "This machine", "format": Format.ONNX.value}},
        )
    if machine.formats and format.value not in machine.formats:
        raise UnsupportedError(
            f"The studio does not run on a {machine.name}, and no estimate is made: it runs {', '.join(machine.formats)}, "
            f"not {format}.",
            code="device_not_here",
            fix="Benchmark on “This machine”.",
            field="device_profile",
            details={"nearest": {"device_profile": "This machine"}},
        )
    missing = machine.missing()
    if missing:
        raise _lacking(machine, {name: NEEDED[name] for name in missing})


def lacks_int8_peak(machine: Machine) -> UnsupportedError:
    """Return the refusal for a model that computes in int8 where nobody published how fast the device does that."""
    return _lacking(
        machine, {INT8_PEAK: "the peak of its processor in int8, in TOPS, since the model computes in int8"}
    )


def _lacking(machine: Machine, missing: Mapping[str, str]) -> UnsupportedError:
    return UnsupportedError(
        f"The studio does not run on a {machine.name}, and cannot estimate it: its profile lacks "
        f"{' and '.join(missing.values())}.",
        code="device_not_here",
        fix=f"Add {' and '.join(missing)} with their sources to a device profile of your own, or benchmark on “This machine”.",
        field="device_profile",
        details={"missing": list(missing), "nearest": {"device_profile": "This machine"}},
    )
