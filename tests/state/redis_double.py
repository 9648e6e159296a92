"""A server that speaks as much of Redis's protocol as K2 uses, and can be made slow, wrong or empty."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pydantic import SecretStr

from k2.settings import StateSettings

USER, PASSWORD = "k2", "the password of the double"


class RedisDouble:
    """Listens on a free port of loopback until it is closed.

    Attributes:
        values: what it keeps.
        answer: if set, gives the bytes that are sent in place of the answer to a command, which may take its time.
        commands: names of the commands it was sent.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.values: dict[bytes, tuple[bytes, float]] = {}
        self.answer: Callable[[bytes], Iterator[bytes]] | None = None
        self.commands: list[str] = []
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def settings(self) -> StateSettings:
        """How a client reaches it."""
        return StateSettings(
            kind="redis",
            redis_address=f"127.0.0.1:{self.port}",
            redis_user=USER,
            redis_password=SecretStr(PASSWORD),
        )

    def close(self) -> None:
        """Close every connection and accept none any more."""
        with_shutdown(self._listening)
        for connection in self._connections:
            with_shutdown(connection)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                if self._listening.fileno() == -1:
                    return
                continue
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        allowed = False
        try:
            with connection, connection.makefile("rb") as stream:
                while command := _command(stream):
                    name = command[0].upper().decode()
                    self.commands.append(name)
                    if name == "AUTH":
                        allowed = command[1:] == [USER.encode(), PASSWORD.encode()]
                        connection.sendall(b"+OK\r\n" if allowed else b"-WRONGPASS invalid username-password pair\r\n")
                    elif not allowed:
                        connection.sendall(b"-NOAUTH Authentication required.\r\n")
                    elif self.answer is not None:
                        for piece in self.answer(b" ".join(command)):
                            connection.sendall(piece)
                    else:
                        connection.sendall(self._done(name, command[1:]))
        except OSError:
            return

    def _done(self, name: str, arguments: list[bytes]) -> bytes:
        match name, arguments:
            case "GET", [key]:
                value, until = self.values.get(key, (b"", 0.0))
                return b"$%d\r\n%s\r\n" % (len(value), value) if until > time.monotonic() else b"$-1\r\n"
            case "SET", [key, value, b"PX", milliseconds]:
                self.values[key] = value, time.monotonic() + int(milliseconds) / 1_000
                return b"+OK\r\n"
            case "DEL", [key]:
                return b":%d\r\n" % (self.values.pop(key, None) is not None)
            case "PING", []:
                return b"+PONG\r\n"
        return b"-ERR unknown command\r\n"


@contextmanager
def redis_double(tls: ssl.SSLContext | None = None) -> Iterator[RedisDouble]:
    """A server for as long as the block lasts."""
    server = RedisDouble(tls)
    try:
        yield server
    finally:
        server.close()


def with_shutdown(open_socket: socket.socket) -> None:
    """Close a socket, and wake whoever waits on it."""
    with contextlib.suppress(OSError):
        open_socket.shutdown(socket.SHUT_RDWR)
    open_socket.close()


def _command(stream: BinaryIO) -> list[bytes]:
    head = stream.readline()
    if not head.startswith(b"*"):
        # As a person types it.
        return head.split()
    parts = []
    for _ in range(int(head[1:])):
        size = int(stream.readline()[1:])
        parts.append(stream.read(size + 2)[:-2])
    return parts
