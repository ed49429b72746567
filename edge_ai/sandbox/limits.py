"""What one child may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

#: Address space that a child has however small its model is: TensorFlow alone needs more than half of it.
ADDRESS_BYTES = 4 << 30
#: Address space for each processor: a library that starts a thread on each reserves as much, and uses little of it.
ADDRESS_BYTES_OF_A_PROCESSOR = 128 << 20
ADDRESS_TIMES_MODEL = 3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one child may use, together with everything that it starts.

    Parameters
    ----------
    wall_seconds
        How long it may run.
    memory_bytes
        Memory of all its processes together, where what they share counts once.
    address_bytes
        Address space of each process; unset: as much as ``memory_bytes``.
    file_bytes
        Largest single file.
    output_bytes, output_files
        All that is in its folder, and all files that it has open and no name any more.
    open_files
        Open files of each process.
    processes, threads
        How many it may be at once; the threads of all processes are counted together.
    log_bytes, log_lines
        How much of standard error is kept; the rest is dropped.
    out_bytes, out_lines
        How much may be said on standard output, where its answers are.
    cpus
        The processors that it runs on.
    """

    wall_seconds: float
    memory_bytes: int
    address_bytes: int | None = None
    file_bytes: int = 8 << 30
    output_bytes: int = 16 << 30
    output_files: int = 20_000
    open_files: int = 512
    processes: int = 64
    threads: int = 1024
    log_bytes: int = 256 << 10
    log_lines: int = 5_000
    out_bytes: int = 64 << 20
    out_lines: int = 20_000
    cpus: tuple[int, ...] | None = None

    def of_the_kernel(self, threads_already: int) -> dict[str, int]:
        """Return what the kernel itself enforces, by the names of its limits.

        Parameters
        ----------
        threads_already
            Threads that count as the child's before it has any.
        """
        return {
            "AS": self.memory_bytes if self.address_bytes is None else self.address_bytes,
            "FSIZE": self.file_bytes,
            "NOFILE": self.open_files,
            "NPROC": self.threads + threads_already,
            "CPU": int(self.wall_seconds * (os.cpu_count() or 1)) + 5,
            "CORE": 0,
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
        }


def address_bytes_for(model_bytes: int, most: int) -> int:
    """Return the address space for work on a model of ``model_bytes``, which is at most ``most``."""
    processors = (os.cpu_count() or 1) * ADDRESS_BYTES_OF_A_PROCESSOR
    return min(ADDRESS_BYTES + processors + ADDRESS_TIMES_MODEL * model_bytes, most)
