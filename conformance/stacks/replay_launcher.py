"""Runs K2's own replay in a process that kills itself: at a mark it is about to write, or some time after its start.

At a mark the messages of the transaction are in the source topic already and their marks are not complete: that is when
most can go wrong. Some milliseconds after the first transaction has begun it may be anywhere.
"""

import argparse
import os
import signal
import threading
from pathlib import Path

from k2.assembly.dead_letters import replay
from k2.clock import SystemClock
from k2.ingestion.dead_letter_inventory import LetterFilter
from k2.observability.logs import configure_logs
from k2.settings import load_settings


class DeadlyClock(SystemClock):
    """A clock that kills its process when it is read for the n-th time; a replay reads it once for each mark.

    Args:
        readings: n; None for never.
    """

    def __init__(self, readings: int | None) -> None:
        self._left = readings

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                die()
        return super().wall_ns()


def die() -> None:
    """End this process as nothing else can."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Replay everything, and die; where there are fewer marks than it was to write, it ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.replay_launcher")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--at-mark", type=int)
    parser.add_argument("--after-ms", type=float)
    arguments = parser.parse_args()
    settings = load_settings(arguments.data_dir)
    configure_logs(settings.log_level)
    begun = threading.Event()

    def begin() -> bool:
        if arguments.after_ms is not None and not begun.is_set():
            begun.set()
            threading.Timer(arguments.after_ms / 1e3, die).start()
        return False

    replay(settings, LetterFilter(), DeadlyClock(arguments.at_mark), stopping=begin)
    if begun.is_set():
        # It was done sooner than it was to die.
        signal.pause()


if __name__ == "__main__":
    main()
