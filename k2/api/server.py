"""Serves the application over HTTP/1.1 in this process, until SIGTERM or SIGINT."""

import contextlib
import errno
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from k2.api.protocol import HeadLimits, bounded_protocol
from k2.errors import AddressInUseError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.settings import ApiSettings

# Idle connections count; beyond this many requests are answered 503 by the server itself.
_MOST_CONNECTIONS = 4_096
_BACKLOG = 1_024
_STARTUP_POLL_SECONDS = 0.005
# Requests in hand may run to their time limit before a stop cuts them off.
_STOP_GRACE_SECONDS = 5


def print_address(url: str) -> None:
    """Say where the API listens, on standard output."""
    sys.stdout.write(f"K2 API listening on {url}\n")
    sys.stdout.flush()


def serve(
    app: ASGIApp, settings: ApiSettings, metrics: Metrics, on_listening: Callable[[str], None] = print_address
) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered, new connections refused. Needs the main thread.

    Args:
        app: the application.
        settings: host, port (0 picks a free one), time limit and the header read timeout.
        metrics: counts requests that never reach the application.
        on_listening: called with the URL once connections are accepted.

    Raises:
        AddressInUseError: something else listens there.
        UsageError: the host is not one of this machine, or the port may not be used.
        UnavailableError: the server ended by itself.
    """
    with listening_socket(settings.host, settings.port) as listener:
        address, port = listener.getsockname()[:2]
        server = _Server(_configuration(app, settings, metrics))
        url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        threading.Thread(target=_announce, args=(server, url, on_listening), daemon=True).start()
        server.run(sockets=[listener])
        if not server.started:
            raise UnavailableError("the HTTP server did not start; its log has the reason")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class does, without raising the signal again at the end: stopping when asked is no failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _configuration(app: ASGIApp, settings: ApiSettings, metrics: Metrics) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded_protocol(HeadLimits(settings.header_read_timeout_seconds), metrics),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=settings.header_read_timeout_seconds,
        timeout_graceful_shutdown=int(settings.time_limit_seconds) + _STOP_GRACE_SECONDS,
    )


def _announce(server: uvicorn.Server, url: str, on_listening: Callable[[str], None]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(_STARTUP_POLL_SECONDS)
    on_listening(url)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; from now on nobody else can.

    Raises:
        AddressInUseError: something else listens there.
        UsageError: the host is not one of this machine, or the port may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"{host!r} is not a host to listen on: {error.strerror}; set K2_API__HOST") from error
    try:
        # A port whose last connections are only waiting to be forgotten is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Before anything listens a second process could bind the address too.
        bound.listen(_BACKLOG)
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
