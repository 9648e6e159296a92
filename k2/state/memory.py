"""Values in this process's memory, up to a number of bytes; beyond it the one that was used longest ago goes."""

import threading
from collections import OrderedDict

from k2.clock import Clock

_NS_PER_SECOND = 10**9


class MemoryStore:
    """A state store that ends with its process.

    Args:
        max_bytes: of all values together; a larger one is not kept.
        clock: measures how long values are kept.
    """

    name = "memory"

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        # The one used longest ago comes first; with each value when its time is over.
        self._values: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        with self._lock:
            kept = self._values.get(key)
            if kept is None:
                return None
            if kept[1] <= self._clock.monotonic_ns():
                self._forget(key)
                return None
            self._values.move_to_end(key)
            return kept[0]

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value."""
        with self._lock:
            self._forget(key)
            if len(value) > self._max_bytes:
                return
            self._values[key] = value, self._clock.monotonic_ns() + int(ttl_seconds * _NS_PER_SECOND)
            self._bytes += len(value)
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._values)))

    def delete(self, key: str) -> None:
        """Forget a value."""
        with self._lock:
            self._forget(key)

    def close(self) -> None:
        """Forget all."""
        with self._lock:
            self._values.clear()
            self._bytes = 0

    def _forget(self, key: str) -> None:
        value, _ = self._values.pop(key, (b"", 0))
        self._bytes -= len(value)
