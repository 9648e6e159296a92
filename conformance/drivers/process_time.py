"""How much of a processor a process uses, as the kernel counts it."""

import os
import time
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_USER_FIELD, _SYSTEM_FIELD = 11, 12


def processor_share(process_id: int, over_seconds: float) -> float:
    """Cores in use by all threads of a process over the next while."""
    before, started = _processor_seconds(process_id), time.monotonic()
    time.sleep(over_seconds)
    return (_processor_seconds(process_id) - before) / (time.monotonic() - started)


def _processor_seconds(process_id: int) -> float:
    # The second field is the name, which may hold anything but ends at the last bracket.
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])) / _TICKS_A_SECOND
