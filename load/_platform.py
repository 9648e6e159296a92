"""An API with data of its own: an embedded platform in a process of its own, told to end by its standard input.

python -m load platform --records 20000      prints {"url": ...} once there is something to ask for
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from conformance.drivers.load import feed_trades
from conformance.stacks.embedded import EmbeddedStack

ROOT = Path(__file__).resolve().parent.parent


def serve_until_told(records: int, on_serving: Callable[[str], None]) -> None:
    """Serve an API over so many trades until standard input ends; `on_serving` gets its address."""
    with tempfile.TemporaryDirectory(prefix="k2-load-") as folder, EmbeddedStack(Path(folder)) as stack:
        feed_trades(stack, records)
        on_serving(stack.start_api())
        sys.stdin.read()


class OwnPlatform:
    """Such a process; `url` is its API's address."""

    def __init__(self, records: int) -> None:
        command = [sys.executable, "-m", "load", "platform", "--records", str(records)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"no platform could be started: exit code {self._process.wait()}")
        self.url = str(json.loads(line)["url"])

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
