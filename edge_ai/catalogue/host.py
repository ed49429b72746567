"""Detects “This machine”: the device that the studio's workers run on.

Reads text files of the kernel only. What they do not tell is null: nobody has measured this machine's peaks yet.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from edge_ai.catalogue.loader import TEXT_SOURCES, AcceleratorFacts, DeviceTemplateFacts
from edge_ai.engine.routes import RUNTIME_OF
from edge_ai.engine.spec import Precision

SLUG: Final = "this-machine"
NAME: Final = "This machine"
_MB: Final = 1024 * 1024
#: What workers run models with, in the catalogue's words.
_RUNTIMES: Final = ("onnxruntime", "tflite", "tensorflow", "openvino")

#: Flags of the kernel that are the catalogue's words too, in the order in which they are listed.
_X86_EXTENSIONS: Final = (
    "sse4_1",
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
#: The kernel's flag to the catalogue's word.
_ARM_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "neon": "neon",
        "asimd": "neon",
        "vfpv4": "vfpv4",
        "asimdhp": "fp16",
        "asimddp": "dotprod",
        "bf16": "bf16",
        "i8mm": "i8mm",
        "sve": "sve",
        "svei8mm": "sve_i8mm",
        "sve2": "sve2",
        "sme": "sme",
        "sme2": "sme2",
    }
)
#: (implementer, part) as Arm and its licensees number them; the kernel prints numbers where x86 prints a name.
_ARM_CORES: Final[Mapping[tuple[int, int], str]] = MappingProxyType(
    {
        (0x41, 0xC07): "Cortex-A7",
        (0x41, 0xD03): "Cortex-A53",
        (0x41, 0xD04): "Cortex-A35",
        (0x41, 0xD05): "Cortex-A55",
        (0x41, 0xD07): "Cortex-A57",
        (0x41, 0xD08): "Cortex-A72",
        (0x41, 0xD09): "Cortex-A73",
        (0x41, 0xD0A): "Cortex-A75",
        (0x41, 0xD0B): "Cortex-A76",
        (0x41, 0xD0C): "Neoverse N1",
        (0x41, 0xD0D): "Cortex-A77",
        (0x41, 0xD40): "Neoverse V1",
        (0x41, 0xD41): "Cortex-A78",
        (0x41, 0xD42): "Cortex-A78AE",
        (0x41, 0xD44): "Cortex-X1",
        (0x41, 0xD46): "Cortex-A510",
        (0x41, 0xD47): "Cortex-A710",
        (0x41, 0xD48): "Cortex-X2",
        (0x41, 0xD49): "Neoverse N2",
        (0x41, 0xD4D): "Cortex-A715",
        (0x41, 0xD4E): "Cortex-X3",
        (0x41, 0xD4F): "Neoverse V2",
        (0x41, 0xD80): "Cortex-A520",
        (0x41, 0xD81): "Cortex-A720",
        (0x41, 0xD82): "Cortex-X4",
        (0x4E, 0x004): "NVIDIA Carmel",
        (0xC0, 0xAC3): "Ampere-1",
        (0xC0, 0xAC4): "Ampere-1a",
    }
)
_ARCHITECTURES: Final[Mapping[str, str]] = MappingProxyType(
    {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "armv7", "armv8l": "armv7"}
)
#: Makers of graphics processors that compute. Others, such as a virtual or a server's management display, do not.
_GPU_VENDORS: Final[Mapping[str, str]] = MappingProxyType(
    {"0x10de": "NVIDIA GPU", "0x1002": "AMD GPU", "0x8086": "Intel GPU"}
)
_NPU_VENDORS: Final[Mapping[str, str]] = MappingProxyType(
    {"0x8086": "Intel NPU", "0x1022": "AMD NPU", "0x1e52": "Tenstorrent accelerator"}
)
_NOMINAL_CLOCK: Final = re.compile(r"@\s*([\d.]+)\s*GHz", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuInfo:
    """What `/proc/cpuinfo` says. `fixed_mhz` is a clock that does not change from one reading to the next."""

    model: str
    board: str
    extensions: tuple[str, ...]
    fixed_mhz: int | None


def detect_host(root: Path = Path("/")) -> DeviceTemplateFacts:
    """This machine as a device. `root` is where `proc` and `sys` are looked up."""
    cpu = parse_cpuinfo(_read(root / "proc/cpuinfo"))
    product = _product(root) or cpu.board
    architecture = _ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower())
    sources = {
        "cpu_cores": "the CPUs that this process may run on (sched_getaffinity on this host)",
        TEXT_SOURCES: "/proc/cpuinfo, /sys and the platform's own answers on this host",
    }
    frequency_mhz, sources_frequency = _frequency(root, cpu)
    memory_mb, sources_memory = _memory(root)
    if frequency_mhz is not None:
        sources["cpu_frequency_mhz"] = sources_frequency
    if memory_mb is not None:
        sources["memory_mb"] = sources_memory
    return DeviceTemplateFacts(
        slug=SLUG,
        name=NAME,
        vendor=_line(root / "sys/class/dmi/id/sys_vendor"),
        category="host",
        description=_description(product),
        os=_operating_system(),
        position=0,
        cpu_model=(cpu.model or platform.processor() or architecture)[:200],
        cpu_architecture=architecture,
        cpu_cores=_cores(),
        cpu_extensions=cpu.extensions,
        cpu_frequency_mhz=frequency_mhz,
        memory_mb=memory_mb,
        accelerators=_accelerators(root),
        runtimes=_RUNTIMES,
        formats=tuple(format.value for format in RUNTIME_OF),
        precisions=tuple(word.value for word in Precision if word is not Precision.AUTO),
        sources=MappingProxyType(sources),
        is_host=True,
    )


def parse_cpuinfo(text: str) -> CpuInfo:
    """The layout of x86 (`model name`, `flags`) as well as that of Arm (`CPU part`, `Features`)."""
    entries = [
        (key.strip().lower(), value.strip())
        for key, separator, value in (line.partition(":") for line in text.splitlines())
        if separator
    ]
    first: dict[str, str] = {}
    for key, value in entries:
        first.setdefault(key, value)
    flags = set(first.get("flags", first.get("features", "")).lower().split())
    words = {flag: flag for flag in _X86_EXTENSIONS} if "flags" in first else _ARM_EXTENSIONS
    model = _arm_model(entries) or first.get("model name", "")
    return CpuInfo(
        model=" ".join(model.split()),
        board=first.get("model", "") if "features" in first else "",
        extensions=tuple(dict.fromkeys(word for flag, word in words.items() if flag in flags)),
        fixed_mhz=_fixed_mhz(first, flags),
    )


def parse_memory_bytes(meminfo: str) -> int | None:
    """The total of `/proc/meminfo`."""
    match = re.search(r"^MemTotal:\s+(\d+)\s+kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def parse_cgroup_limit_bytes(text: str) -> int | None:
    """A cgroup's memory limit; none where it says `max`. Version 1 writes a huge number instead."""
    return int(text) if text.strip().isdecimal() else None


def parse_cgroup_paths(text: str) -> tuple[PurePosixPath, ...]:
    """The files that may hold this process' memory limit, from `/proc/self/cgroup`, below the cgroup mount.

    Every group above the process' own one counts too: the tightest limit wins. In a container the mount often shows its
    own group as the root, so that the path is not found and the root's file is what matters.
    """
    files: list[PurePosixPath] = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (
            (PurePosixPath("memory"), "memory.limit_in_bytes") if controllers else (PurePosixPath(), "memory.max")
        )
        group = PurePosixPath(path.lstrip("/"))
        files += [base / parent / name for parent in (group, *group.parents) if ".." not in parent.parts]
    return tuple(dict.fromkeys(files))


def _arm_model(entries: Iterable[tuple[str, str]]) -> str:
    """The kinds of core with how many there are of each, in the order in which the kernel lists them."""
    counts: dict[str, int] = {}
    implementer = 0
    for key, value in entries:
        if key == "cpu implementer":
            implementer = _hex(value)
        elif key == "cpu part":
            part = _hex(value)
            name = _ARM_CORES.get((implementer, part), f"Arm part {implementer:#04x}/{part:#05x}")
            counts[name] = counts.get(name, 0) + 1
    return " + ".join(f"{count} x {name}" for name, count in counts.items())


def _hex(value: str) -> int:
    try:
        return int(value, 16)
    except ValueError:
        return 0


def _fixed_mhz(first: Mapping[str, str], flags: set[str]) -> int | None:
    if match := _NOMINAL_CLOCK.search(first.get("model name", "")):
        return round(float(match[1]) * 1000)
    # With aperfmperf the kernel prints the clock of this very moment; without, the one that it calibrated at its start.
    if "constant_tsc" in flags and "aperfmperf" not in flags and (clock := first.get("cpu mhz")):
        return round(float(clock))
    return None


def _frequency(root: Path, cpu: CpuInfo) -> tuple[int | None, str]:
    kilohertz = [
        int(text)
        for path in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
        if (text := _line(path)).isdecimal()
    ]
    if kilohertz:
        return max(kilohertz) // 1000, "/sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq on this host"
    return cpu.fixed_mhz, "/proc/cpuinfo on this host (no frequency scaling is visible here)"


def _memory(root: Path) -> tuple[int | None, str]:
    total = parse_memory_bytes(_read(root / "proc/meminfo"))
    limits = [
        limit
        for path in parse_cgroup_paths(_read(root / "proc/self/cgroup"))
        if (limit := parse_cgroup_limit_bytes(_read(root / "sys/fs/cgroup" / path))) is not None
    ]
    if limits and (total is None or min(limits) < total):
        return max(min(limits) // _MB, 1), "the memory limit of this process' control group on this host"
    return (None, "") if total is None else (total // _MB, "MemTotal in /proc/meminfo on this host")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerators(root: Path) -> tuple[AcceleratorFacts, ...]:
    """What is plugged in, by name. Whether a runtime here could use it is not known, so no precision is claimed."""
    found: list[tuple[str, str]] = []
    nvidia = [_field(_read(path), "Model") for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))]
    found += [(name or "NVIDIA GPU", "gpu") for name in nvidia]
    for vendor in _vendors(root / "sys/class/drm", "card[0-9]*"):
        if vendor in _GPU_VENDORS and not (nvidia and vendor == "0x10de"):
            found.append((_GPU_VENDORS[vendor], "gpu"))
    found += [(_NPU_VENDORS.get(vendor, "NPU"), "npu") for vendor in _vendors(root / "sys/class/accel", "accel[0-9]*")]
    found += [("Coral Edge TPU", "tpu") for _ in (root / "sys/class/apex").glob("apex_*")]
    found += [("Hailo accelerator", "npu") for _ in (root / "sys/class/hailo_chardev").glob("hailo*")]
    return tuple(AcceleratorFacts(name=name, kind=kind) for name, kind in found)


def _vendors(folder: Path, pattern: str) -> list[str]:
    """PCI vendor numbers of the devices in a class; connectors (`card0-HDMI-A-1`) have none."""
    return [vendor for path in sorted(folder.glob(pattern)) if (vendor := _line(path / "device/vendor").lower())]


def _product(root: Path) -> str:
    return _line(root / "sys/firmware/devicetree/base/model") or _line(root / "sys/class/dmi/id/product_name")


def _description(product: str) -> str:
    text = "The machine that this studio runs on. Benchmarks on it are measured, not estimated."
    return f"{text} It calls itself {product}." if product else text


def _operating_system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return (name or f"{platform.system()} {platform.release()}")[:100]


def _field(text: str, name: str) -> str:
    match = re.search(rf"^{re.escape(name)}:\s*(.+?)\s*$", text, re.MULTILINE)
    return match[1] if match else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(path: Path) -> str:
    """A one-line file of the kernel; those of a device tree end in a zero byte."""
    return _read(path).replace("\0", " ").strip()[:100]
