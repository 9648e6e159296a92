"""What Redis can have done to it without its server being touched: emptied, and made to hold other bytes."""

from dataclasses import dataclass

import redis

from conformance.stacks.base import PowerMissingError, Stack
from k2.clock import SystemClock
from k2.observability.metrics import Metrics
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import BreakerSettings, StateSettings
from k2.state.redis_server import RedisStore

_PATIENCE_SECONDS = 10.0
_LIES = (b"", b"no checkpoint at all", b"ARROW1\x00\x00" + bytes(100))


@dataclass(frozen=True, slots=True)
class RedisServer:
    """The Redis of a stack."""

    settings: StateSettings

    def open_store(self) -> RedisStore:
        """K2's own store on it, with patience."""
        patient = self.settings.model_copy(update={"redis_timeout_seconds": _PATIENCE_SECONDS})
        return RedisStore(patient, CircuitBreaker("redis", BreakerSettings(), Metrics(), SystemClock()))

    def empty(self) -> None:
        """Have it forget everything; fails if there was nothing."""
        with self._client() as client:
            if not client.dbsize():
                raise RuntimeError("Redis was empty before it was emptied: nothing was cached")
            client.flushall()

    def alter_everything(self) -> None:
        """Put something else in place of every value; fails if there was none.

        The half of it are bytes of another checkpoint, whole and well formed; the rest are not even that.
        """
        with self._client() as client:
            keys = sorted(client.keys("*"))
            if not keys:
                raise RuntimeError("Redis is empty: nothing was cached that could be altered")
            values = [client.get(key) for key in keys]
            for number, key in enumerate(keys):
                another = values[number - 1] if len(keys) > 1 and number % 2 else _LIES[number % len(_LIES)]
                client.set(key, another or b"", keepttl=True)

    def _client(self) -> redis.Redis:
        host, _, port = self.settings.redis_address.rpartition(":")
        password = self.settings.redis_password
        return redis.Redis(
            host=host,
            port=int(port),
            username=self.settings.redis_user,
            password=None if password is None else password.get_secret_value(),
            socket_timeout=_PATIENCE_SECONDS,
        )


def redis_server(stack: Stack) -> RedisServer:
    """The Redis of a stack.

    Raises:
        PowerMissingError: it has none.
    """
    if stack.settings.state.kind != "redis":
        raise PowerMissingError("this stack has no Redis")
    return RedisServer(stack.settings.state)
