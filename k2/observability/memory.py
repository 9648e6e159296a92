"""How much memory this process holds, and how much it may. Linux only: elsewhere it cannot be told."""

import os
from pathlib import Path

_PROCESS_PAGES = Path("/proc/self/statm")
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def resident_bytes() -> int:
    """Memory of this process that is in RAM.

    Raises:
        OSError: the system does not tell.
    """
    return int(_PROCESS_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def usable_bytes() -> int:
    """The container's limit, or the machine's memory where that is less or there is no limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CONTAINER_LIMITS:
        try:
            return min(machine, int(path.read_text()))
        except (OSError, ValueError):
            continue
    return machine
