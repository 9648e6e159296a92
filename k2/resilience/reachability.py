"""Whether servers answer, asked again and again, whatever work there is or is not.

A breaker speaks of calls that were made, and of a dependency as a whole. This asks each address by itself: of three
brokers that one is gone is seen while the other two answer. A frozen server still accepts connections, and so does a
proxy or a balancer whose server is gone, which then hangs up: so each is greeted in its own protocol and must say
something.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from k2.resilience.breakers import Dependency
from k2.resilience.circuit_breaker import Recorder
from k2.resilience.repeated_task import RepeatedTask

_ANSWER_SECONDS = 2.0
KAFKA_GREETING = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
"""ApiVersions, version 0, correlation id 1, no client id."""
POSTGRESQL_GREETING = bytes.fromhex("00000008 04d2162f")
"""SSLRequest, which is answered with one byte before anybody has to say who he is."""
HTTP_GREETING = b"HEAD / HTTP/1.0\r\n\r\n"
REDIS_GREETING = b"PING\r\n"
"""Answered also where somebody has to say who he is first."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server of a dependency.

    Attributes:
        greeting: what it must answer; empty where it is enough that it accepts connections.
    """

    dependency: Dependency
    host: str
    port: int
    greeting: bytes = b""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Reachability:
    """Asks every server in turn.

    Args:
        servers: whom to ask.
        metrics: receives k2_dependency_up.
        every_seconds: the pause between two rounds.
    """

    def __init__(self, servers: Iterable[ServerAddress], metrics: Recorder, every_seconds: float) -> None:
        self._servers = tuple(servers)
        self._metrics = metrics
        self._every_seconds = every_seconds

    def watching(self) -> RepeatedTask:
        """Ask at every interval, until the `with` block ends."""
        return RepeatedTask("reachability", self.look, self._every_seconds)

    def look(self) -> None:
        """Ask every server once."""
        for server in self._servers:
            labels = {"dependency": str(server.dependency), "address": str(server)}
            self._metrics.set("k2_dependency_up", float(answers(server)), labels)


def answers(server: ServerAddress, timeout_seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether a connection can be opened and a greeting is answered."""
    try:
        with socket.create_connection((server.host, server.port), timeout_seconds) as connection:
            if not server.greeting:
                return True
            connection.sendall(server.greeting)
            return bool(connection.recv(1))
    except OSError:
        return False
