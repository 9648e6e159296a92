"""The HTTP/1.1 protocol of the server: what it does with requests that never become one, and with slow clients.

A request whose head does not parse, is too large or takes too long never reaches the application, so it is answered
here, in the same envelope and counted by the same metrics as everything else. Requests that came before it on the same
connection are answered first.
"""

import asyncio
import sys
import uuid
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from k2.api import problems
from k2.api.bounded_transport import BoundedTransport, WriteLimits
from k2.api.envelope import error_response, retry_after
from k2.api.problems import Problem
from k2.api.request_info import OTHER_METHOD, UNMATCHED
from k2.observability.metrics import Metrics

# Requests a client may send ahead of their answers.
MOST_PIPELINED = 32
# Chunks of one byte each are framed by five times as much.
_MOST_FRAMING_A_BODY_BYTE = 8
_log = structlog.get_logger("k2.api")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may take.

    Attributes:
        head_timeout_seconds: how long the head of a request may take.
        largest_head_bytes: how large it may be, and what a body's trailers or chunk framing may add.
        most_connections: connections at once.
        write: how slowly answers may be read.
    """

    head_timeout_seconds: float
    largest_head_bytes: int
    most_connections: int
    write: WriteLimits


class _RefusedError(Exception):
    """Raised inside the parser's callbacks; the parser ends there."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def bounded_protocol(limits: ConnectionLimits, metrics: Metrics) -> type[HttpToolsProtocol]:
    """A protocol class for the server, bound to limits and metrics (the server constructs one per connection)."""

    class BoundedProtocol(_BoundedProtocol):
        connection_limits = limits
        connection_metrics = metrics

    return BoundedProtocol


class _BoundedProtocol(HttpToolsProtocol):
    connection_limits: ConnectionLimits
    connection_metrics: Metrics
    transport: BoundedTransport  # type: ignore[assignment]
    _head_timer: asyncio.TimerHandle | None = None
    _refusal: _RefusedError | None = None
    _in_head = True
    _head_bytes = 0
    _parsed_bytes = 0
    _framed_bytes = 0
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        limits = self.connection_limits
        bounded = BoundedTransport(transport, self.loop, limits.write, self._may_still_send)
        super().connection_made(bounded)  # type: ignore[arg-type]
        if len(self.connections) > limits.most_connections:
            self._refuse(problems.TOO_MANY_CONNECTIONS, "every connection is taken; ask again later")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self.transport.stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self.transport.throw_away(data)
            return
        if self._refusal is not None:
            return
        if self._in_head:
            # What comes between two requests and is none, such as empty lines, must not keep a connection for ever.
            if self._head_timer is None:
                self._await_head()
            self._head_bytes += len(data)
            # What follows the head in the same piece is not the head's, so only a head that goes on is judged.
            if self._head_bytes > self.connection_limits.largest_head_bytes and b"\r\n\r\n" not in data:
                self._refuse(problems.HEADER_TOO_LARGE, self._too_large_head())
                return
        else:
            self._framed_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            self._refuse_too_much_framing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._parsed_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Also called for what follows the last chunk of a body.
        self._parsed_bytes += len(name) + len(value) + 4
        if self._parsed_bytes > self.connection_limits.largest_head_bytes:
            raise _RefusedError(problems.HEADER_TOO_LARGE, self._too_large_head())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + self._parsed_bytes > self.connection_limits.largest_head_bytes:
            raise _RefusedError(problems.HEADER_TOO_LARGE, self._too_large_head())
        if len(self.pipeline) >= MOST_PIPELINED:
            message = f"more than {MOST_PIPELINED} requests came ahead of their answers"
            raise _RefusedError(problems.BAD_REQUEST, message)
        super().on_headers_complete()
        self._cancel_head_timer()
        self._in_head = False
        self._framed_bytes = self._body_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and not self._is_answering():
            self._write_refusal(self._refusal)

    def send_400_response(self, msg: str) -> None:
        """Called by the server while it handles the parser's error, which says what is wrong."""
        error = sys.exception()
        cause = error.__context__ if error is not None else None
        if isinstance(cause, _RefusedError):
            self._refuse(cause.problem, str(cause))
            return
        reason = str(error or msg)
        if "Content-Length" in reason:
            self.connection_metrics.increment(
                "http_request_size_limit_errors_total", {"reason": _length_problem(reason)}
            )
            self._refuse(problems.INVALID_CONTENT_LENGTH, f"the Content-Length cannot be used: {reason}")
        else:
            self._refuse(problems.BAD_REQUEST, f"the request is not HTTP/1.1: {reason}")

    def _await_head(self) -> None:
        self._cancel_head_timer()
        self._in_head = True
        self._head_bytes = 0
        timeout_seconds = self.connection_limits.head_timeout_seconds
        self._head_timer = self.loop.call_later(timeout_seconds, self._head_came_too_late)

    def _head_came_too_late(self) -> None:
        self._head_timer = None
        if not self._head_bytes:
            self.transport.close()
            return
        message = f"no whole head came within {self.connection_limits.head_timeout_seconds:g} s"
        self._refuse(problems.REQUEST_TIMEOUT, message)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_large_head(self) -> str:
        return f"the head is over {self.connection_limits.largest_head_bytes} bytes"

    def _refuse_too_much_framing(self) -> None:
        allowed_bytes = self.connection_limits.largest_head_bytes + _MOST_FRAMING_A_BODY_BYTE * self._body_bytes
        if self._framed_bytes - self._body_bytes > allowed_bytes:
            self._refuse(problems.BAD_REQUEST, "the body's chunks are mostly framing")

    def _may_still_send(self) -> bool:
        return self._refusal is not None or not self._in_head

    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _refuse(self, problem: Problem, message: str) -> None:
        self._cancel_head_timer()
        if self._refusal is not None or self.transport.is_closing():
            return
        self._refusal = _RefusedError(problem, message)
        if self._in_head and self._is_answering():
            self.flow.pause_reading()
        else:
            self._write_refusal(self._refusal)

    def _write_refusal(self, refusal: _RefusedError) -> None:
        problem, request_id = refusal.problem, uuid.uuid4().hex
        headers = {"Connection": "close", "X-Request-Id": request_id}
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers |= retry_after(1.0)
        response = error_response(problem, str(refusal), request_id, headers=headers)
        _log.warning("request refused", code=problem.code, message=str(refusal), request_id=request_id)
        labels = {"method": OTHER_METHOD, "endpoint": UNMATCHED, "status": str(problem.status)}
        self.connection_metrics.increment("k2_http_requests_total", labels)
        head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode()]
        head += [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", bytes(response.body)]))
        self.transport.close()


def _length_problem(reason: str) -> str:
    for words, label in (("overflow", "overflow"), ("Duplicate", "duplicate"), ("Transfer-Encoding", "with_chunked")):
        if words in reason:
            return label
    return "not_a_number"
