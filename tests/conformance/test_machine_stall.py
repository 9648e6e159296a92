"""How long the machine did not run, as a thread that wants to run sees it."""

import ctypes
import time

from conformance.drivers.machine_stall import watched_machine

HELD_SECONDS = 0.3


def test_a_quiet_while_has_hardly_a_stall() -> None:
    with watched_machine() as stall:
        time.sleep(0.05)
    assert 0 <= stall.longest_seconds < HELD_SECONDS


def test_a_process_that_did_not_run_is_a_stall() -> None:
    with watched_machine() as stall:
        time.sleep(0.02)
        # A call that keeps the interpreter's lock: nothing of this process that is Python runs meanwhile.
        ctypes.PyDLL(None).usleep(int(HELD_SECONDS * 1e6))
        time.sleep(0.02)
    assert stall.longest_seconds > HELD_SECONDS * 0.8
