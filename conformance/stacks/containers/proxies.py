"""Toxiproxy: what stands between K2's processes and the servers, and what it does to what passes.

The only module that speaks to Toxiproxy, through its client library. That keeps the server's address in a class, which
all its objects share. Here each call sets the address first, and calls exclude one another, so that any number of
servers can be spoken to from one process, by any number of threads.
"""

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
from toxiproxy import Proxy, Toxiproxy  # type: ignore[import-untyped]
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # type: ignore[import-untyped]

from conformance.stacks.containers.errors import CatalogueError, ServiceError

_ADDRESS = threading.Lock()
"""Held while the library's one address is ours."""
_ATTEMPTS = 3
_WAIT_SECONDS = 0.5
"""A busy Toxiproxy gives up a request with an empty answer; every request here may be repeated."""
_REFUSALS = (InvalidToxic, NotFound, ProxyExists)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """One proxy as deploy/compose/toxiproxy.json has it.

    Attributes:
        name: of the service behind it.
        listen_port: in Toxiproxy's container.
        upstream_port: of the service.
    """

    name: str
    listen_port: int
    upstream_port: int


@dataclass(frozen=True, slots=True)
class ActiveToxic:
    """What acts on a proxy now.

    Attributes:
        name: what it is called.
        kind: "latency", ...
        stream: "downstream" or "upstream".
        toxicity: share of the connections that meet it.
        attributes: of its kind.
    """

    name: str
    kind: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]


def read_proxies(path: Path) -> dict[str, ProxySpec]:
    """The proxies by name.

    Raises:
        CatalogueError: the file cannot be used.
    """
    try:
        rows = json.loads(path.read_text())
        specs = [ProxySpec(row["name"], _port(row["listen"]), _port(row["upstream"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogueError(f"{path} cannot be used: {error!r}") from None
    return {spec.name: spec for spec in specs}


class Proxies:
    """The proxies of one stack.

    Args:
        url: of Toxiproxy's interface.

    Raises (every method):
        ServiceError: Toxiproxy refuses, or does not answer.
    """

    def __init__(self, url: str) -> None:
        address = urllib.parse.urlsplit(url)
        self._url = url
        self._host, self._control_port = str(address.hostname), int(address.port or 80)

    def names(self) -> list[str]:
        """Every proxy there is."""
        return sorted(self._asked(lambda server: server.proxies(), "to list its proxies"))

    def disable(self, name: str) -> None:
        """Close all connections and accept none."""
        self._of(name, lambda proxy: proxy.disable(), "to be disabled")

    def enable(self, name: str) -> None:
        """Accept connections again."""
        self._of(name, lambda proxy: proxy.enable(), "to be enabled")

    def is_enabled(self, name: str) -> bool:
        """Whether it accepts connections."""
        return bool(self._of(name, lambda proxy: proxy.enabled, "to say whether it is enabled"))

    def add_toxic(
        self,
        name: str,
        kind: str,
        attributes: Mapping[str, int],
        *,
        toxic: str,
        stream: str = "downstream",
        toxicity: float = 1.0,
    ) -> None:
        """Spoil what passes, in one direction.

        Args:
            name: of the proxy.
            kind: "latency", "bandwidth", "timeout", "reset_peer", "slicer", "limit_data" or "slow_close".
            attributes: of that kind, such as {"latency": 200} in milliseconds.
            toxic: what it is called from now on; one of the same name is replaced.
            stream: "downstream", what the server says, or "upstream".
            toxicity: share of the connections that meet it.
        """

        def add(proxy: Any) -> None:
            if proxy.get_toxic(toxic) is not None:
                proxy.destroy_toxic(toxic)
            proxy.add_toxic(type=kind, name=toxic, stream=stream, toxicity=toxicity, attributes=dict(attributes))

        self._of(name, add, f"toxic {toxic} ({kind})")

    def toxics(self, name: str) -> list[str]:
        """Names of what acts on a proxy now."""
        return [toxic.name for toxic in self.active_toxics(name)]

    def active_toxics(self, name: str) -> list[ActiveToxic]:
        """What acts on a proxy now, by name."""
        found = self._of(name, lambda proxy: proxy.toxics(), "to list its toxics")
        return [
            ActiveToxic(toxic.name, toxic.type, toxic.stream, toxic.toxicity, toxic.attributes)
            for _, toxic in sorted(found.items())
        ]

    def remove_toxic(self, name: str, toxic: str) -> None:
        """Spoil no longer."""
        self._of(name, lambda proxy: proxy.destroy_toxic(toxic), f"removal of toxic {toxic}")

    def reset(self) -> None:
        """Everything as it was at the start: all proxies enabled, nothing spoiled."""
        self._asked(lambda server: server.reset(), "to reset")

    def _of(self, name: str, ask: Callable[[Any], T], what: str) -> T:
        def ask_proxy(server: Toxiproxy) -> T:
            proxy: Proxy | None = server.get_proxy(name)
            if proxy is None:
                raise NotFound(f"there is no proxy called {name}")
            return ask(proxy)

        return self._asked(ask_proxy, f"{name}: {what}")

    def _asked(self, ask: Callable[[Any], T], what: str) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            with self._spoken_to() as server:
                try:
                    return ask(server)
                except _REFUSALS as error:
                    raise ServiceError(f"toxiproxy refuses {what}: {_words(error)}") from None
                except (requests.RequestException, OSError) as error:
                    if attempt == _ATTEMPTS:
                        raise ServiceError(f"toxiproxy does not answer at {self._url}: {error}") from None
            time.sleep(_WAIT_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _spoken_to(self) -> Iterator[Any]:
        with _ADDRESS:
            server = Toxiproxy()
            server.update_api_consumer(self._host, self._control_port)
            yield server


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return " ".join((said.decode(errors="replace") if isinstance(said, bytes) else str(said)).split())


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
