"""Metrics over HTTP, for processes that serve nothing else."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from k2.errors import AddressInUseError, UsageError
from k2.observability.metrics import Metrics

HOST = "127.0.0.1"


@contextmanager
def served_metrics(
    metrics: Metrics, port: int, host: str = HOST, setting: str = "K2_CONSUMER__METRICS_PORT"
) -> Iterator[str]:
    """Serve the metrics of this process in threads of their own, at the address that is given; port 0 picks one.

    Args:
        metrics: what is served.
        port: to listen on.
        host: address to listen on.
        setting: the variable that named the port, for whoever must change it.

    Raises:
        AddressInUseError: something else listens there.
        UsageError: the port may not be used.
    """
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"port {port} on {host} is taken: stop what listens there or set {setting} (0 picks a free port)"
            ) from error
        raise UsageError(
            f"metrics cannot be served on port {port} of {host}: {error.strerror}; set {setting}"
        ) from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
