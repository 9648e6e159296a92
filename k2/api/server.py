"""Serves the application over HTTP/1.1 in this process, until SIGTERM or SIGINT."""

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from k2.api.bounded_transport import WriteLimits
from k2.api.draining import Draining
from k2.api.protocol import ConnectionLimits, bounded_protocol
from k2.errors import AddressInUseError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.settings import ApiSettings

_BACKLOG = 1_024
_STARTUP_POLL_SECONDS = 0.005
_DRAIN_POLL_SECONDS = 0.01
# Files, threads and the catalog need descriptors as well.
_OTHER_DESCRIPTORS = 256

_log = structlog.get_logger("k2.api")


def print_address(url: str) -> None:
    """Say where the API listens, on standard output."""
    sys.stdout.write(f"K2 API listening on {url}\n")
    sys.stdout.flush()


def serve(
    app: ASGIApp,
    settings: ApiSettings,
    metrics: Metrics,
    on_listening: Callable[[str], None] = print_address,
    draining: Draining | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: not ready, new connections refused, requests in hand answered.

    Needs the main thread.

    Args:
        app: the application.
        settings: host, port (0 picks a free one) and the limits of connections.
        metrics: counts requests that never reach the application.
        on_listening: called with the URL once connections are accepted.
        draining: told when the process is; the application's, so that it can say so.

    Raises:
        AddressInUseError: something else listens there.
        UsageError: the host is not one of this machine, or the port may not be used.
        UnavailableError: the server ended by itself.
    """
    with listening_socket(settings.host, settings.port) as listener:
        address, port = listener.getsockname()[:2]
        _allow_connections(settings.most_connections)
        server = _Server(_configuration(app, settings, metrics), draining or Draining(), settings.drain_notice_seconds)
        url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        threading.Thread(target=_announce, args=(server, url, on_listening), daemon=True).start()
        # All there is by now stays to the end. Walking it for cycles again stops every thread for a fifth of a second.
        gc.freeze()
        server.run(sockets=[listener])
        if not server.started:
            raise UnavailableError("the HTTP server did not start; its log has the reason")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, draining: Draining, notice_seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._notice_seconds = notice_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class does, without raising the signal again at the end: stopping when asked is no failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """From the first signal on the process is not ready; a second SIGINT stops at once."""
        self._draining.begin()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go on serving until it was noticed that the process is not ready, then close and wait for what is in hand."""
        self._draining.begin()
        _log.info("draining", notice_seconds=self._notice_seconds, limit_seconds=self.config.timeout_graceful_shutdown)
        give_up_at = time.monotonic() + self._notice_seconds
        while time.monotonic() < give_up_at and not self.force_exit:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await super().shutdown(sockets)
        _log.info("drained")


def _configuration(app: ASGIApp, settings: ApiSettings, metrics: Metrics) -> uvicorn.Config:
    limits = ConnectionLimits(
        settings.header_read_timeout_seconds,
        settings.head_limit_bytes,
        settings.most_connections,
        WriteLimits(settings.write_timeout_seconds, settings.slowest_bytes_per_second),
    )
    return uvicorn.Config(
        app,
        http=bounded_protocol(limits, metrics),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        # Both are numbers of seconds that are only added to the clock.
        timeout_keep_alive=settings.idle_timeout_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.drain_limit_seconds,  # type: ignore[arg-type]
    )


def _allow_connections(count: int) -> None:
    """Raise this process's limit of open files to what the connections need, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning("fewer open files are allowed than connections are", allowed=allowed, most_connections=count)


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
