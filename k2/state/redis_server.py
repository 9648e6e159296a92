"""Values on a Redis server, shared by all machines; how many it keeps is its own `maxmemory`.

Each call is one command with one time limit for all of it, passes the circuit breaker and is not repeated: whoever asks
a cache has another way, and the sooner it is told the better. The client's own limits hold for each piece that comes,
and a slow line brings pieces without end, so calls are made in a thread of their own and given up together with their
connection.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from k2.errors import K2Error, UnavailableError
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.resilience.failures import classify, translated
from k2.settings import StateSettings

_MS_PER_SECOND = 1_000
_REMEDY = "look at the server and at state.redis_address"
T = TypeVar("T")


class RedisStore:
    """A state store on a server.

    Args:
        settings: where it is, and as whom it is asked.
        breaker: leaves it alone while it does not answer.
    """

    name = "redis"

    def __init__(self, settings: StateSettings, breaker: CircuitBreaker) -> None:
        self._address = settings.redis_address
        self._timeout_seconds = settings.redis_timeout_seconds
        self._breaker = breaker
        # Nothing is sent before the first call: a server that is away must not keep a process from starting.
        self._client = redis.Redis(**_options(settings))
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="redis")

    def get(self, key: str) -> bytes | None:
        """The value, or None.

        Raises:
            UnavailableError: the server does not answer, or is left alone for a while.
            RefusedError: it refuses.
        """
        # What an answer of another kind is worth its reader finds out, as with any other.
        return self._ask(lambda: cast("bytes | None", self._client.get(key)))

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value.

        Raises:
            UnavailableError: the server does not answer, or is left alone for a while.
            RefusedError: it refuses, or is full.
        """
        self._ask(lambda: self._client.set(key, value, px=max(1, int(ttl_seconds * _MS_PER_SECOND))))

    def delete(self, key: str) -> None:
        """Forget a value.

        Raises:
            UnavailableError: the server does not answer, or is left alone for a while.
            RefusedError: it refuses.
        """
        self._ask(lambda: self._client.delete(key))

    def look(self) -> None:
        """Ask whether it is there.

        Raises:
            UnavailableError: it does not answer.
            RefusedError: it refuses.
        """
        self._ask(self._client.ping)

    def close(self) -> None:
        """Close the connections."""
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _ask(self, call: Callable[[], T]) -> T:
        with self._breaker.guard():
            answer = self._calls.submit(call)
            try:
                return answer.result(self._timeout_seconds)
            except TimeoutError:
                answer.cancel()
                # Whoever still waits on the connection is woken by this, so that the thread is free for the next call.
                self._client.connection_pool.disconnect()
                raise UnavailableError(
                    f"Redis at {self._address}: no answer within {self._timeout_seconds:g} s. {_REMEDY}"
                ) from None
            except Exception as error:  # what a server answers leads its parser anywhere
                raise self._ours(error) from error

    def _ours(self, error: Exception) -> K2Error:
        if classify(error).rule is None:
            return UnavailableError(f"Redis at {self._address}: its answer is none ({error!r:.100}). {_REMEDY}")
        return translated(error, f"Redis at {self._address}", _REMEDY)


def _options(settings: StateSettings) -> dict[str, Any]:
    host, _, port = settings.redis_address.rpartition(":")
    options: dict[str, Any] = {
        "host": host.strip("[]"),
        "port": int(port),
        "username": settings.redis_user,
        "password": None if settings.redis_password is None else settings.redis_password.get_secret_value(),
        "socket_timeout": settings.redis_timeout_seconds,
        "socket_connect_timeout": settings.redis_timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        # The older protocol needs no greeting, and who we are need not be told: less to be allowed, less to wait for.
        "protocol": 2,
        "driver_info": None,
    }
    if settings.redis_tls:
        options |= {
            "ssl": True,
            "ssl_ca_certs": None if settings.redis_ca_file is None else str(settings.redis_ca_file),
        }
    return options
