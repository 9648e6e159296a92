"""Every request on a line of JSON, for conformance.drivers.load to read."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson


class Record:
    """Writes to a file of this process alone: several of Locust's share a name, and none of them its file."""

    def __init__(self, base: Path) -> None:
        base.parent.mkdir(parents=True, exist_ok=True)
        self.path = base.with_name(f"{base.name}.{os.getpid()}")
        self._file = self.path.open("ab")

    def add(self, request: Mapping[str, Any]) -> None:
        """Keep one request."""
        self._file.write(orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
