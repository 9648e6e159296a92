"""Bounds what a request may send: how much, for how long, and how much of it all requests together.

The body is taken in, up to the limit, before the application is called, and then handed to it in one piece. So an
oversized body is refused also where nothing would ever have read it, and no handler ever sees part of one. Where the
application does not read bodies, what came is counted and thrown away.
"""

import asyncio
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2.api import problems
from k2.api.envelope import error_response, retry_after
from k2.api.problems import Problem
from k2.api.request_info import RequestInfo, request_info
from k2.observability.metrics import Metrics

_BODYLESS_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "TRACE"})
_BYTES_A_MB = 1024 * 1024
_MOST_LENGTH_DIGITS = 19
# The rest of the body is not read, so the connection cannot carry another request.
_CLOSE = {"Connection": "close"}


# When others have been read, or have been given up.
_BUSY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What bodies may take.

    Attributes:
        largest_bytes: of one body.
        together_bytes: of all bodies that are held at once.
        timeout_seconds: how long a body may take, and a second more for each slowest_bytes_per_second of it.
        slowest_bytes_per_second: the least that keeps a body from being given up.
    """

    largest_bytes: int
    together_bytes: int
    timeout_seconds: float
    slowest_bytes_per_second: float


class _TooLargeError(Exception):
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes


class _InvalidLengthError(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


class _IncompleteError(Exception):
    pass


class _TooManyError(Exception):
    pass


class BodyLimit:
    """ASGI middleware; see the module. It needs `ObservedRequests` around it.

    Args:
        app: the next layer.
        limits: what bodies may take.
        metrics: receives http_request_size_limit_exceeded_total and http_request_size_limit_errors_total.
        readers: method and endpoint of the handlers that read a body.
    """

    def __init__(
        self, app: ASGIApp, *, limits: BodyLimits, metrics: Metrics, readers: Collection[tuple[str, str]]
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._readers = frozenset(readers)
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        info = request_info(scope)
        body = _Body(self, keeps=(info.method, info.endpoint) in self._readers)
        refusal: Response
        try:
            declared_bytes = _declared_length(scope["headers"])
            if declared_bytes is not None and declared_bytes > self._limits.largest_bytes:
                raise _TooLargeError(declared_bytes)
            if _may_carry_body(scope, declared_bytes):
                await body.take_in(receive)
                receive = body.replayed(receive)
            await self._app(scope, receive, send)
            return
        except _TooLargeError as error:
            refusal = self._too_large(info, error.size_bytes)
        except _InvalidLengthError as error:
            self._metrics.increment("http_request_size_limit_errors_total", {"reason": error.reason})
            refusal = _refusal(problems.INVALID_CONTENT_LENGTH, f"Content-Length is {error.reason}", info)
        except _TooSlowError as error:
            message = f"the body did not arrive within {error.limit_seconds:.3g} s"
            refusal = _refusal(problems.REQUEST_TIMEOUT, message, info)
        except _IncompleteError:
            message = "the body ended early or its chunks cannot be read"
            refusal = _refusal(problems.INCOMPLETE_BODY, message, info)
        except _TooManyError:
            message = "other requests fill the memory for bodies; ask again later"
            refusal = _refusal(problems.TOO_MANY_BODIES, message, info, retry_after(_BUSY_SECONDS))
        finally:
            self._held_bytes -= body.held_bytes
        await refusal(scope, receive, send)

    def hold(self, size_bytes: int) -> None:
        """Count bytes as held.

        Raises:
            _TooManyError: they do not fit.
        """
        if self._held_bytes + size_bytes > self._limits.together_bytes:
            raise _TooManyError
        self._held_bytes += size_bytes

    @property
    def limits(self) -> BodyLimits:
        """What bodies may take."""
        return self._limits

    def _too_large(self, info: RequestInfo, size_bytes: int) -> Response:
        labels = {"method": info.method, "endpoint": info.endpoint}
        self._metrics.increment("http_request_size_limit_exceeded_total", labels)
        limit_bytes = self._limits.largest_bytes
        details = {"size_mb": round(size_bytes / _BYTES_A_MB, 6), "limit_mb": round(limit_bytes / _BYTES_A_MB, 6)}
        message = f"the body is over the limit of {limit_bytes} bytes; send it in smaller requests"
        return error_response(problems.PAYLOAD_TOO_LARGE, message, info.request_id, headers=_CLOSE, details=details)


class _TooSlowError(Exception):
    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds


class _Body:
    """One body while it comes in."""

    def __init__(self, layer: BodyLimit, *, keeps: bool) -> None:
        self._layer = layer
        self._keeps = keeps
        # Its value is what was written, not a copy of it.
        self._kept = io.BytesIO()
        self.held_bytes = 0

    async def take_in(self, receive: Receive) -> None:
        limits = self._layer.limits
        started = asyncio.get_running_loop().time()
        size_bytes, limit_seconds = 0, limits.timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds) as bound:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _IncompleteError
                    piece = message.get("body", b"")
                    size_bytes += len(piece)
                    # What was declared is not believed: the bytes that came are counted.
                    if size_bytes > limits.largest_bytes:
                        raise _TooLargeError(size_bytes)
                    self._keep(piece)
                    if not message.get("more_body", False):
                        return
                    limit_seconds = limits.timeout_seconds + size_bytes / limits.slowest_bytes_per_second
                    bound.reschedule(started + limit_seconds)
        except TimeoutError as error:
            raise _TooSlowError(limit_seconds) from error

    def replayed(self, receive: Receive) -> Receive:
        """A `receive` that begins with the whole body."""
        messages: list[Message] = [{"type": "http.request", "body": self._kept.getvalue(), "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay

    def _keep(self, piece: bytes) -> None:
        if self._keeps:
            self._layer.hold(len(piece))
            self.held_bytes += len(piece)
            self._kept.write(piece)


def _refusal(problem: Problem, message: str, info: RequestInfo, headers: dict[str, str] | None = None) -> Response:
    return error_response(problem, message, info.request_id, headers={**_CLOSE, **(headers or {})})


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    values = {value.strip() for name, value in headers if name == b"content-length"}
    if not values:
        return None
    if len(values) > 1:
        raise _InvalidLengthError("ambiguous")
    value = values.pop()
    if value.startswith(b"-") and value[1:].isdigit():
        raise _InvalidLengthError("negative")
    if not value.isdigit():
        raise _InvalidLengthError("not_a_number")
    digits = value.lstrip(b"0") or b"0"
    # Python refuses to turn thousands of digits into a number; no body has that many bytes anyway.
    return int(digits[:_MOST_LENGTH_DIGITS])


def _may_carry_body(scope: Scope, declared_bytes: int | None) -> bool:
    if declared_bytes is not None or scope["method"] not in _BODYLESS_METHODS:
        return True
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])
