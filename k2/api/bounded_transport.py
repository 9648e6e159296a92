"""What answers are written to: gives up clients that do not read, and lets one that still sends read its refusal.

A connection that is closed while the client sends is reset, and a reset can destroy the answer that was on its way. So
where more may come, the answer is followed by the end of our side alone, what comes is thrown away for a moment, and
then the connection is closed.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass

LINGER_SECONDS = 1.0
MOST_LINGERING_BYTES = 1024 * 1024
_LOOK_SECONDS = 0.25
_KERNEL_LATER_SECONDS = 3.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How slowly an answer may be read.

    Attributes:
        timeout_seconds: how long it may take, and a second more for each slowest_bytes_per_second that was read.
        slowest_bytes_per_second: the least that keeps a client from being given up.
    """

    timeout_seconds: float
    slowest_bytes_per_second: float


class BoundedTransport:
    """A transport as the server's protocol uses it.

    Args:
        transport: the socket's.
        loop: runs the timers.
        limits: how slowly answers may be read.
        may_still_send: whether the client is in the middle of a request.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limits: WriteLimits,
        may_still_send: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._limits = limits
        self._may_still_send = may_still_send
        self._is_closing = False
        self._lingering_bytes = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._written_bytes = 0
        self._began = 0.0
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        _bound_kernel(self._socket, limits.timeout_seconds)

    def write(self, data: bytes) -> None:
        """Send, or keep what the socket does not take yet."""
        self._transport.write(data)
        if "write" in self._timers:
            self._written_bytes += len(data)
        elif self._transport.get_write_buffer_size():
            self._began, self._written_bytes = self._loop.time(), self._unread_bytes()
            self._timers["write"] = self._loop.call_later(_LOOK_SECONDS, self._look_at_reader)

    def close(self) -> None:
        """Close once everything is sent, and once a client that still sends had a moment to read it."""
        if self.is_closing():
            return
        self._is_closing = True
        if not self._may_still_send():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the client has gone already
            self._transport.close()
            return
        self._transport.resume_reading()
        self._timers["linger"] = self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def throw_away(self, data: bytes) -> None:
        """What came after the end of our side."""
        self._lingering_bytes += len(data)
        if self._lingering_bytes > MOST_LINGERING_BYTES:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more will be answered here."""
        return self._is_closing or self._transport.is_closing()

    def stop_timers(self) -> None:
        """The connection is gone."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """As the socket's transport."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """As the socket's transport."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the socket's transport."""
        self._transport.resume_reading()

    def _give_up(self) -> None:
        self._is_closing = True
        # Closing would wait for the reader, here or in the kernel; a reset waits for nobody.
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _look_at_reader(self) -> None:
        if not self._transport.get_write_buffer_size():
            del self._timers["write"]
            return
        read_bytes = self._written_bytes - self._unread_bytes()
        allowed_seconds = self._limits.timeout_seconds + read_bytes / self._limits.slowest_bytes_per_second
        if self._loop.time() - self._began > allowed_seconds:
            self._give_up()
            return
        self._timers["write"] = self._loop.call_later(_LOOK_SECONDS, self._look_at_reader)

    def _unread_bytes(self) -> int:
        """What waits here and what the kernel holds: it takes megabytes at once, then nothing for many a slow read."""
        held_bytes = 0
        if self._socket is not None and self._socket.fileno() >= 0:
            (held_bytes,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))
        return self._transport.get_write_buffer_size() + held_bytes


def _bound_kernel(connection: socket.socket | None, timeout_seconds: float) -> None:
    """Have the kernel give up what it has taken for a client that does not take it, also after we have closed.

    Later than we do: the kernel ends the connection without a word, and the client would not hear of it.
    """
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        limit_ms = round((timeout_seconds + _KERNEL_LATER_SECONDS) * 1_000)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
