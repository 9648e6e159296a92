"""Toxiproxy's HTTP interface: what stands between K2's processes and the servers, and what it does to what passes.

The client library of Python keeps the server's address in a class, so that two servers in one process, as two stacks
have them, share the last one's; hence this one.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.stacks.containers.errors import CatalogueError, ServiceError

_ANSWER_SECONDS = 10.0


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
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def names(self) -> list[str]:
        """Every proxy there is."""
        return sorted(self._ask("GET", "/proxies"))

    def disable(self, name: str) -> None:
        """Close all connections and accept none."""
        self._ask("POST", f"/proxies/{name}", {"enabled": False})

    def enable(self, name: str) -> None:
        """Accept connections again."""
        self._ask("POST", f"/proxies/{name}", {"enabled": True})

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
        if toxic in self.toxics(name):
            self.remove_toxic(name, toxic)
        body = {"name": toxic, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": dict(attributes)}
        self._ask("POST", f"/proxies/{name}/toxics", body)

    def toxics(self, name: str) -> list[str]:
        """What acts on a proxy now."""
        return sorted(toxic["name"] for toxic in self._ask("GET", f"/proxies/{name}/toxics"))

    def remove_toxic(self, name: str, toxic: str) -> None:
        """Spoil no longer."""
        self._ask("DELETE", f"/proxies/{name}/toxics/{toxic}")

    def reset(self) -> None:
        """Everything as it was at the start: all proxies enabled, nothing spoiled."""
        self._ask("POST", "/reset", {})

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self._url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                said = " ".join(error.read().decode(errors="replace").split())
            raise ServiceError(f"toxiproxy refuses {method} {path}: {said}") from None
        except OSError as error:
            raise ServiceError(f"toxiproxy does not answer at {self._url}: {error}") from None
        return json.loads(text) if text else None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
