"""The HTTP/1.1 protocol of the server: what it does with requests that never become one.

A request whose head does not parse, is too large or takes too long never reaches the application, so it is answered
here, in the same envelope and counted by the same metrics as everything else.
"""

import asyncio
import sys
import uuid
from dataclasses import dataclass

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from k2.api.envelope import error_response
from k2.observability.metrics import Metrics

LARGEST_HEAD_BYTES = 32 * 1024
_log = structlog.get_logger("k2.api")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large the head of a request may be, and how long it may take to arrive."""

    timeout_seconds: float
    largest_bytes: int = LARGEST_HEAD_BYTES


def bounded_protocol(limits: HeadLimits, metrics: Metrics) -> type[HttpToolsProtocol]:
    """A protocol class for the server, bound to limits and metrics (the server constructs one per connection)."""

    class BoundedProtocol(_BoundedProtocol):
        head_limits = limits
        head_metrics = metrics

    return BoundedProtocol


class _BoundedProtocol(HttpToolsProtocol):
    head_limits: HeadLimits
    head_metrics: Metrics
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            # What follows the head in the same piece is not the head's, so only a head that goes on is judged.
            if self._head_bytes > self.head_limits.largest_bytes and b"\r\n\r\n" not in data:
                self._refuse(431, "HEADER_TOO_LARGE", f"the head is over {self.head_limits.largest_bytes} bytes")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._cancel_head_timer()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Called by the server while it handles the parser's error, which says what is wrong."""
        reason = str(sys.exception() or msg)
        if "Content-Length" in reason:
            self.head_metrics.increment("http_request_size_limit_errors_total", {"reason": _length_problem(reason)})
            self._refuse(400, "INVALID_CONTENT_LENGTH", f"the Content-Length cannot be used: {reason}")
        else:
            self._refuse(400, "BAD_REQUEST", f"the request is not HTTP/1.1: {reason}")

    def _await_head(self) -> None:
        self._cancel_head_timer()
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.head_limits.timeout_seconds, self._head_came_too_late)

    def _head_came_too_late(self) -> None:
        if not self._head_bytes:
            self.transport.close()
            return
        self._refuse(408, "REQUEST_TIMEOUT", f"no whole head came within {self.head_limits.timeout_seconds:g} s")

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._cancel_head_timer()
        if self.transport.is_closing():
            return
        request_id = uuid.uuid4().hex
        response = error_response(status, code, message, request_id, headers={"Connection": "close"})
        _log.warning("request refused", status=status, code=code, message=message, request_id=request_id)
        labels = {"method": "OTHER", "endpoint": "unmatched", "status": str(status)}
        self.head_metrics.increment("k2_http_requests_total", labels)
        head = [f"HTTP/1.1 {status} {_PHRASES[status]}\r\n".encode()]
        head += [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        self.transport.write(
            b"".join([*head, b"x-request-id: " + request_id.encode() + b"\r\n\r\n", bytes(response.body)])
        )
        self.transport.close()


_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def _length_problem(reason: str) -> str:
    for words, label in (("overflow", "overflow"), ("Duplicate", "duplicate"), ("Transfer-Encoding", "with_chunked")):
        if words in reason:
            return label
    return "not_a_number"
