"""What a measurement was taken on: processor, kernel, memory, container."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

_VECTOR_PREFIXES: Final = ("avx", "amx", "sse4", "fma", "f16c", "neon", "asimd", "sve", "sme", "i8mm", "bf16", "fphp")
_NOT_VECTOR: Final = frozenset({"smep"})
_CONTAINER_WORDS: Final = ("docker", "kubepods", "containerd", "lxc", "podman")
_LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "ai-edge-litert", "openvino", "tensorflow", "tf-keras")


def describe_machine(cpus: Sequence[int]) -> dict[str, object]:
    """Return the facts of this machine that bear on a latency.

    Parameters
    ----------
    cpus
        The processors that the measurement used; the frequency governor is theirs.
    """
    cpu_model, cpu_flags = read_processor()
    return {
        "cpu_model": cpu_model,
        "cpu_flags": cpu_flags,
        "cores": os.cpu_count(),
        "governor": read_governor(cpus),
        "memory_mb": read_memory_mb(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "container": read_container(),
        "python": platform.python_version(),
        "libraries": read_libraries(),
    }


def read_libraries() -> dict[str, str]:
    """Return the installed versions of what runs models, read from their packages: none of them is loaded."""
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str | None, list[str]]:
    """Return the processor's name and its vector instruction sets, sorted, as the kernel names them."""
    model: str | None = None
    flags: list[str] = []
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None, []
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if model is None and key in ("model name", "Model", "Hardware"):
            model = value
        if not flags and key in ("flags", "Features"):
            flags = sorted(
                flag for flag in value.split() if flag.startswith(_VECTOR_PREFIXES) and flag not in _NOT_VECTOR
            )
    return model, flags


def read_governor(cpus: Sequence[int], system: Path = Path("/sys/devices/system/cpu")) -> str | None:
    """Return the frequency governor of the processors; several names joined when they differ, None when hidden."""
    names: set[str] = set()
    for number in cpus:
        try:
            names.add((system / f"cpu{number}" / "cpufreq" / "scaling_governor").read_text().strip())
        except OSError:
            continue
    return ", ".join(sorted(names)) or None


def read_memory_mb(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the machine's memory in MB of 10^6 bytes."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemTotal:"):
                return round(int(line.split()[1]) * 1024 / 1e6)
    except (OSError, ValueError):
        return None
    return None


def read_container(root: Path = Path("/")) -> str | None:
    """Return the kind of container that this process runs in, or None when there is no sign of one."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run" / ".containerenv").exists():
        return "podman"
    try:
        groups = (root / "proc" / "1" / "cgroup").read_text()
    except OSError:
        return None
    return next((word for word in _CONTAINER_WORDS if word in groups), None)
