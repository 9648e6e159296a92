"""The webhook that Alertmanager tells: keeps every alert of every notification, with the time it was told.

It listens on the address this host has in the run's own network, as the relay does through which Prometheus asks.
"""

import json
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

_SCHEMA = pa.schema(
    [
        ("wall_ns", pa.int64()),
        ("receiver", pa.string()),
        ("status", pa.string()),
        ("alert", pa.string()),
        ("severity", pa.string()),
        ("fingerprint", pa.string()),
        ("labels", pa.string()),
    ]
)
_POLL_SECONDS = 0.05
Told = tuple[int, str, str, str, str, str, str]


class AlertReceiver:
    """Listens from its making until `close`; a context manager.

    Args:
        host: address to listen on.

    Raises:
        OSError: that is no address of this host.
    """

    def __init__(self, host: str) -> None:
        self._rows: list[Told] = []
        self._server = _Server((host, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens, "host:port"."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def take(self, receiver: str, notification: dict[str, Any]) -> None:
        """Keep a notification: Alertmanager's own JSON, told to the receiver of this name."""
        wall_ns = time.time_ns()
        self._rows += [
            (
                wall_ns,
                receiver,
                str(alert["status"]),
                str(alert["labels"]["alertname"]),
                str(alert["labels"].get("severity", "")),
                str(alert["fingerprint"]),
                json.dumps(alert["labels"], sort_keys=True),
            )
            for alert in notification["alerts"]
        ]

    def heard_since(self, wall_ns: int) -> set[str]:
        """Names of the alerts it was told to fire since then."""
        return {row[3] for row in tuple(self._rows) if row[0] >= wall_ns and row[2] == "firing"}

    def open_alerts(self) -> set[str]:
        """Names of the alerts it was told of and not of their end."""
        last = {(row[3], row[5]): row[2] for row in tuple(self._rows)}
        return {name for (name, _), status in last.items() if status == "firing"}

    def table(self) -> pa.Table:
        """Stage `notifications`: one row for each alert of each, in the order they came."""
        rows = sorted(self._rows, key=lambda row: row[0])
        columns = zip(*rows, strict=True) if rows else ([] for _ in _SCHEMA)
        return pa.table(dict(zip(_SCHEMA.names, map(list, columns), strict=True)), schema=_SCHEMA)

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: AlertReceiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.receiver.take(self.path.strip("/"), json.loads(body))
            status = HTTPStatus.OK
        except (KeyError, TypeError, ValueError):
            status = HTTPStatus.BAD_REQUEST
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
