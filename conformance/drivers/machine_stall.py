"""Whether this machine ran at all while something was timed: a virtual machine may be held for a while by its host."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOOK_SECONDS = 0.005


@dataclass(slots=True)
class MachineStall:
    """The longest time for which a thread that wanted to run did not, in seconds."""

    longest_seconds: float = 0.0


@contextmanager
def watched_machine() -> Iterator[MachineStall]:
    """Look at the clock every 5 ms, in this idle process, and keep by how much the worst look was late."""
    stall = MachineStall()
    done = threading.Event()

    def look() -> None:
        while True:
            asleep_at = time.monotonic()
            if done.wait(_LOOK_SECONDS):
                return
            stall.longest_seconds = max(stall.longest_seconds, time.monotonic() - asleep_at - _LOOK_SECONDS)

    thread = threading.Thread(target=look, name="machine-stall", daemon=True)
    thread.start()
    try:
        yield stall
    finally:
        done.set()
        thread.join()
