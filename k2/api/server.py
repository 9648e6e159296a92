"""Serves the application over HTTP/1.1 in this process, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Callable, Iterator

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp

from k2.errors import AddressInUseError, UnavailableError, UsageError
from k2.settings import ApiSettings

# The server counts connections, idle ones included; at this many it takes no new ones until the header read timeout
# has closed some.
_MOST_CONNECTIONS = 4_096
_BACKLOG = 1_024
_STARTUP_POLL_SECONDS = 0.01
# The server's own errors; requests are the application's to log. Standard output is for the address alone.
_LOGGING = {
    "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {
        name: {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}
        for name in ("console", "access")
    },
}


def print_address(url: str) -> None:
    """Say where the API listens, on standard output."""
    sys.stdout.write(f"K2 API listening on {url}\n")
    sys.stdout.flush()


def serve(app: ASGIApp, settings: ApiSettings, on_listening: Callable[[str], None] = print_address) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered, new connections refused. Needs the main thread.

    Args:
        app: the application.
        settings: host, port (0 picks a free one) and the header read timeout.
        on_listening: called with the URL once connections are accepted.

    Raises:
        AddressInUseError: something else listens there.
        UsageError: the host is not one of this machine, or the port may not be used.
        UnavailableError: the server ended by itself.
    """
    with _reserved_address(settings.host, settings.port) as (address, port):
        asyncio.run(_serve(app, settings, address, port, on_listening))


async def _serve(
    app: ASGIApp, settings: ApiSettings, address: str, port: int, on_listening: Callable[[str], None]
) -> None:
    server = Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=settings.header_read_timeout_seconds * 1_000),
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_MOST_CONNECTIONS,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
    )
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, server.stop)
    serving = asyncio.create_task(server.serve())
    while not serving.done() and not await _accepts(address, port):
        await asyncio.sleep(_STARTUP_POLL_SECONDS)
    if not serving.done():
        on_listening(f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}")
    await serving
    if not server.interrupt_signal:
        raise UnavailableError("the HTTP server ended by itself; its log has the reason")


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.contextmanager
def _reserved_address(host: str, port: int) -> Iterator[tuple[str, int]]:
    """Hold an address nobody else listens on; gives it as (IP address, port).

    The server shares its port with whoever allows sharing too (SO_REUSEPORT), so two of them would split the requests
    of one port between them in silence. Binding without sharing finds that out; allowing it afterwards lets the server
    in, and holding the socket keeps a second process out.
    """
    with _bound(host, port) as reservation:
        # From here on only a socket that may share the port gets in, such as the server's.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        address, free_port = reservation.getsockname()[:2]
        yield address, free_port


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"{host!r} is not a host to listen on: {error.strerror}; set K2_API__HOST") from error
    try:
        # A port whose last connections are only waiting to be forgotten is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"{host}:{port} is taken; stop what listens there or set K2_API__PORT (0 picks a free port)"
            ) from error
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; set K2_API__HOST and K2_API__PORT"
        ) from error
    return bound
