"""Hundreds of clients that take their time, in a process of their own so that they slow down nobody else's clock.

    python -m conformance.drivers.slow_clients '{"port": 8000, "clients": {"slow_head": 125}, "give_up_seconds": 15}'

prints {"open": 125} once all are connected and at work, and in the end one line a client: its kind, how long the server
kept its connection (null: to the end), and how many pieces it sent or read.
"""

import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

INTERVAL_SECONDS = 0.5
READER_BYTES = 512
_BODY = b'{"queries":[{"limit":1}]}'
_HEALTH = b"GET /health HTTP/1.1\r\nHost: k2\r\n\r\n"
_OPENINGS = {
    "silent": b"",
    "slow_head": b"GET /v1/trades HTTP/1.1\r\nX-Slow: ",
    "slow_body": b"POST /v1/trades/query HTTP/1.1\r\nHost: k2\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n" + _BODY,
    "slow_chunks": b"POST /v1/trades/query HTTP/1.1\r\nHost: k2\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "idle": _HEALTH,
    "empty_lines": _HEALTH,
    "slow_reader": b"GET /v1/trades?limit=10000 HTTP/1.1\r\nHost: k2\r\n\r\n",
}
_PIECES = {"slow_head": b"x", "slow_body": b" ", "slow_chunks": b"1\r\nx\r\n", "empty_lines": b"\r\n"}
# Those who send notice the end when they are reset, those who only wait when the server says that it has ended.
_ENDED = select.EPOLLERR | select.EPOLLHUP
KINDS = tuple(_OPENINGS)


@dataclass(slots=True)
class _Client:
    kind: str
    connection: socket.socket
    began: float
    pieces: int = 0
    lived_seconds: float | None = None

    def act(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self.kind == "slow_reader":
                self.connection.recv(READER_BYTES)
            elif self.kind in _PIECES:
                self.connection.send(_PIECES[self.kind])
            else:
                return
            self.pieces += 1


def main(arguments: Mapping[str, Any]) -> None:
    """Connect them, let them dawdle until the server has closed all or the time is up, and say what became of them."""
    port = int(arguments["port"])
    # Readers first: their answers take the server's time, and are to be on their way when the others begin.
    kinds = sorted(arguments["clients"].items(), key=lambda item: item[0] != "slow_reader")
    clients: list[_Client] = []
    read_at = time.monotonic()
    for kind in (kind for kind, count in kinds for _ in range(count)):
        clients.append(_connected(port, kind))
        # The time of a reader whose answer has begun runs, however long the next ones wait for theirs.
        if time.monotonic() > read_at + INTERVAL_SECONDS:
            read_at = time.monotonic()
            _act(client for client in clients if client.kind == "slow_reader")
    print(json.dumps({"open": len(clients)}), flush=True)
    _dawdle(clients, time.monotonic() + float(arguments["give_up_seconds"]))
    for client in clients:
        lived_seconds = None if client.lived_seconds is None else round(client.lived_seconds, 3)
        print(json.dumps({"kind": client.kind, "lived_seconds": lived_seconds, "pieces": client.pieces}))


def _connected(port: int, kind: str) -> _Client:
    connection = socket.socket()
    if kind == "slow_reader":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(_OPENINGS[kind])
    if kind in ("idle", "empty_lines", "slow_reader"):
        connection.recv(1)
    connection.setblocking(False)
    # From here on: what the server did before is no slowness of the client's.
    return _Client(kind, connection, time.monotonic())


def _act(clients: Iterable[_Client]) -> None:
    for client in clients:
        # An error of the connection is told by the poll.
        with contextlib.suppress(OSError):
            client.act()


def _dawdle(clients: list[_Client], give_up_at: float) -> None:
    alive = {client.connection.fileno(): client for client in clients}
    poll = select.epoll()
    for descriptor, client in alive.items():
        waits = client.kind in ("silent", "idle")
        poll.register(descriptor, select.EPOLLRDHUP if waits else 0)
    while alive and time.monotonic() < give_up_at:
        started = time.monotonic()
        _act(alive.values())
        while alive and time.monotonic() < started + INTERVAL_SECONDS:
            for descriptor, events in poll.poll(0.05):
                if events & (_ENDED | select.EPOLLRDHUP):
                    client = alive.pop(descriptor)
                    client.lived_seconds = time.monotonic() - client.began
                    poll.unregister(descriptor)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
