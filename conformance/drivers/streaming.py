"""One request whose body is made while it is sent, and given up as soon as the server has answered or closed."""

import contextlib
import selectors
import socket
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from conformance.drivers.http import RawAnswer, raw_answer

PIECE_BYTES = 256 * 1024
_CLOSE_SECONDS = 3.0


def stream_request(url: str, head: bytes, body: Iterable[bytes], timeout_seconds: float = 30.0) -> RawAnswer:
    """Send a head and pieces of a body until the server answers, then read the answer.

    Args:
        url: the server's address.
        head: as sent, with the empty line.
        body: pieces as sent; no more is made of it than is sent.
        timeout_seconds: for all of it.
    """
    address = urllib.parse.urlparse(url)
    with socket.create_connection((address.hostname, address.port), timeout_seconds) as connection:
        connection.setblocking(False)
        exchange = _Exchange(connection, head, iter(body), time.monotonic() + timeout_seconds)
        exchange.run()
        return raw_answer(exchange.received, exchange.is_closed, exchange.sent_bytes)


@dataclass(slots=True)
class _Exchange:
    connection: socket.socket
    pending: bytes
    body: Iterator[bytes]
    give_up_at: float
    received: bytes = b""
    is_closed: bool = False
    sent_bytes: int = 0
    _is_sent: bool = field(default=False)

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not self.is_closed and time.monotonic() < self.give_up_at:
                for _, events in selector.select(0.05):
                    if events & selectors.EVENT_READ:
                        self._receive()
                    elif not self._is_sent:
                        self._send()
                    else:
                        # Nothing to send any more: only what can be read wakes.
                        selector.modify(self.connection, selectors.EVENT_READ)
                if _is_whole(self.received) and not _announces_close(self.received):
                    return
                if _is_whole(self.received):
                    self.give_up_at = min(self.give_up_at, time.monotonic() + _CLOSE_SECONDS)

    def _receive(self) -> None:
        try:
            piece = self.connection.recv(65_536)
        except ConnectionResetError:
            piece = b""
        self.received += piece
        self.is_closed = not piece

    def _send(self) -> None:
        if not self.pending:
            self.pending = next(self.body, b"")
            self._is_sent = not self.pending
        with contextlib.suppress(BlockingIOError):
            try:
                count = self.connection.send(self.pending)
            except (BrokenPipeError, ConnectionResetError):
                # What the server said before it closed may still be read.
                self._is_sent = True
                return
            self.sent_bytes += count
            self.pending = self.pending[count:]


def _is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(separator and lengths) and len(body) >= int(lengths[0])


def _announces_close(received: bytes) -> bool:
    return b"\r\nconnection: close" in received.partition(b"\r\n\r\n")[0].lower()
