"""An API over a table that a benchmark wrote."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k2.embedded.platform import write_settings
from k2.embedded.processes import ChildProcess

_NO_BROKER = "127.0.0.1:1"
# Clients wait for their turn in a round.
_ENVIRONMENT = {"K2_API__IDLE_TIMEOUT_SECONDS": "600"}


@contextmanager
def api_over(data: Path, log: Path) -> Iterator[str]:
    """The address of an API process over the tables of a data directory."""
    write_settings(data, _NO_BROKER, api_port=0)
    api = ChildProcess("api", ["k2.cli", "--data-dir", str(data), "api"], log, _ENVIRONMENT)
    try:
        yield str(json.loads(api.next_line())["url"])
    finally:
        api.stop()
