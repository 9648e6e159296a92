"""Small requests over TCP, and what became of each: answered, refused, reset, closed or silent."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from chaos.probes.probe import Answer

PATIENCE_SECONDS = 1.0
"""How long an answer is waited for; whoever takes longer is silent."""
ANSWERED, REFUSED, RESET, CLOSED, SILENT = "answered", "refused", "reset", "closed", "silent"
IsWhole = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and how an answer is known to be whole.

    Attributes:
        body: as sent.
        is_whole: whether what came so far is all of an answer.
    """

    body: bytes
    is_whole: IsWhole


class TcpCanary:
    """Sends a request over a connection of its own, or again and again over one that is kept.

    Args:
        name: of the probe.
        address: "host:port".
        request: what is sent.
        is_kept: whether the connection is kept until it breaks.
        patience_seconds: see PATIENCE_SECONDS.
    """

    def __init__(
        self, name: str, address: str, request: Request, *, is_kept: bool, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        host, _, port = address.rpartition(":")
        self.name = name
        self._place = (host, int(port))
        self._request = request
        self._is_kept = is_kept
        self._patience_seconds = patience_seconds
        self._connection: socket.socket | None = None

    def look(self) -> Answer:
        """Send the request once."""
        text = self._asked()
        if text != ANSWERED or not self._is_kept:
            self.close()
        return Answer(text == ANSWERED, text)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self) -> str:
        give_up_at = time.monotonic() + self._patience_seconds
        try:
            if self._connection is None:
                self._connection = socket.create_connection(self._place, self._patience_seconds)
            return _exchanged(self._connection, self._request, give_up_at)
        except TimeoutError:
            return SILENT
        except ConnectionRefusedError:
            return REFUSED
        except (ConnectionResetError, BrokenPipeError):
            return RESET
        except OSError as error:
            return error.strerror or type(error).__name__


def _exchanged(connection: socket.socket, request: Request, give_up_at: float) -> str:
    connection.settimeout(max(0.01, give_up_at - time.monotonic()))
    connection.sendall(request.body)
    received = b""
    while not request.is_whole(received):
        left_seconds = give_up_at - time.monotonic()
        if left_seconds <= 0:
            return SILENT
        connection.settimeout(left_seconds)
        piece = connection.recv(65_536)
        if not piece:
            return CLOSED
        received += piece
    return ANSWERED
