"""State checkpoints nearer than the object store, found by the SHA-256 of their bytes.

A checkpoint never changes, and its digest stands in the name by which the table's snapshot knows it. So whatever a
store gives is compared with what the table says before anybody uses it: a store that is emptied, out of date, altered
or away costs a read of the object store, and never a verdict.
"""

import hashlib
from collections.abc import Sequence

import structlog

from k2.errors import K2Error
from k2.observability.metrics import Metrics
from k2.state.store import StateStore

HIT, MISS, ALTERED, FAILED, SUCCESS = "hit", "miss", "altered", "failed", "success"
_KEY = "k2:state:"
_log = structlog.get_logger("k2.state")


class CheckpointCache:
    """Looks in one store after the other, and puts what it is given into all of them. Nothing it does can fail.

    Args:
        stores: the one to ask first comes first.
        ttl_seconds: how long a checkpoint is kept after it was last put.
        metrics: receives the two k2_state_cache_* metrics.
    """

    def __init__(self, stores: Sequence[StateStore], ttl_seconds: float, metrics: Metrics) -> None:
        self._stores = tuple(stores)
        self._ttl_seconds = ttl_seconds
        self._metrics = metrics
        self._failing: set[str] = set()
        for store in self._stores:
            for outcome in (HIT, MISS, ALTERED, FAILED):
                self._count_read(store, outcome, 0)
            for outcome in (SUCCESS, FAILED):
                self._count_write(store, outcome, 0)

    def get(self, digest: str) -> bytes | None:
        """The bytes with this digest; None where no store has them.

        Args:
            digest: SHA-256, in hexadecimal digits.
        """
        for store in self._stores:
            try:
                body = store.get(_KEY + digest)
            except K2Error as error:
                self._count_read(store, FAILED)
                self._tell(store, error)
                continue
            self._failing.discard(store.name)
            if body is None:
                self._count_read(store, MISS)
            elif _digest(body) != digest:
                self._count_read(store, ALTERED)
                _log.warning("state cache holds other bytes than were put", store=store.name, digest=digest)
            else:
                self._count_read(store, HIT)
                return body
        return None

    def put(self, digest: str, body: bytes) -> None:
        """Keep bytes under their digest."""
        for store in self._stores:
            try:
                store.put(_KEY + digest, body, self._ttl_seconds)
            except K2Error as error:
                self._count_write(store, FAILED)
                self._tell(store, error)
            else:
                self._failing.discard(store.name)
                self._count_write(store, SUCCESS)

    def close(self) -> None:
        """Close the stores."""
        for store in self._stores:
            store.close()

    def _tell(self, store: StateStore, error: K2Error) -> None:
        # Once for as long as it lasts: there may be many calls a second.
        if store.name not in self._failing:
            self._failing.add(store.name)
            _log.warning("state cache without a store", store=store.name, error=str(error))

    def _count_read(self, store: StateStore, outcome: str, number: int = 1) -> None:
        self._metrics.increment("k2_state_cache_reads_total", {"store": store.name, "outcome": outcome}, number)

    def _count_write(self, store: StateStore, outcome: str, number: int = 1) -> None:
        self._metrics.increment("k2_state_cache_writes_total", {"store": store.name, "outcome": outcome}, number)


def _digest(body: object) -> str | None:
    """Of bytes; None for anything else a server may have answered."""
    return hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else None
