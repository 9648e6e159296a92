"""Bounds what a request may send: how much, and for how long.

The body is taken in, up to the limit, before the application is called, and then replayed to it in the chunks it came
in. So an oversized body is refused also where nothing would ever have read it, and no handler ever sees part of one.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2.api.envelope import error_response
from k2.api.request_info import RequestInfo, request_info
from k2.observability.metrics import Metrics

BODY_READ_TIMEOUT_SECONDS = 30.0

_BODYLESS_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "TRACE"})
_BYTES_A_MB = 1024 * 1024
_MOST_LENGTH_DIGITS = 19
# The rest of the body is not read, so the connection cannot carry another request.
_CLOSE = {"Connection": "close"}


class _TooLargeError(Exception):
    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes


class _InvalidLengthError(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


class _IncompleteError(Exception):
    pass


class BodyLimit:
    """ASGI middleware; see the module. It needs `ObservedRequests` around it.

    Args:
        app: the next layer.
        limit_bytes: the largest body that is let through.
        read_timeout_seconds: how long the whole body may take to arrive.
        metrics: receives http_request_size_limit_exceeded_total and http_request_size_limit_errors_total.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int,
        metrics: Metrics,
        read_timeout_seconds: float = BODY_READ_TIMEOUT_SECONDS,
    ) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._metrics = metrics
        self._read_timeout_seconds = read_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        info = request_info(scope)
        refusal: Response
        try:
            replayed = await self._admit(scope, receive)
        except _TooLargeError as error:
            refusal = self._too_large(info, error.size_bytes)
        except _InvalidLengthError as error:
            self._metrics.increment("http_request_size_limit_errors_total", {"reason": error.reason})
            refusal = _refusal(400, "INVALID_CONTENT_LENGTH", f"Content-Length is {error.reason}", info)
        except TimeoutError:
            message = f"the body did not arrive within {self._read_timeout_seconds:g} s"
            refusal = _refusal(408, "REQUEST_TIMEOUT", message, info)
        except _IncompleteError:
            refusal = _refusal(400, "INCOMPLETE_BODY", "the body ended early or its chunks cannot be read", info)
        else:
            await self._app(scope, replayed, send)
            return
        await refusal(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """A `receive` that begins with the whole body."""
        declared_bytes = _declared_length(scope["headers"])
        if declared_bytes is not None and declared_bytes > self._limit_bytes:
            raise _TooLargeError(declared_bytes)
        if not _may_carry_body(scope, declared_bytes):
            return receive
        async with asyncio.timeout(self._read_timeout_seconds):
            chunks = await self._take_in(receive)

        async def replayed() -> Message:
            return chunks.popleft() if chunks else await receive()

        return replayed

    async def _take_in(self, receive: Receive) -> deque[Message]:
        chunks: deque[Message] = deque()
        size_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _IncompleteError
            size_bytes += len(message.get("body", b""))
            # What was declared is not believed: the bytes that came are counted.
            if size_bytes > self._limit_bytes:
                raise _TooLargeError(size_bytes)
            chunks.append(message)
            if not message.get("more_body", False):
                return chunks

    def _too_large(self, info: RequestInfo, size_bytes: int) -> Response:
        labels = {"method": info.method, "endpoint": info.endpoint}
        self._metrics.increment("http_request_size_limit_exceeded_total", labels)
        message = f"the body is over the limit of {self._limit_bytes} bytes; send it in smaller requests"
        return error_response(
            413,
            "PAYLOAD_TOO_LARGE",
            message,
            info.request_id,
            headers=_CLOSE,
            details={
                "size_mb": round(size_bytes / _BYTES_A_MB, 6),
                "limit_mb": round(self._limit_bytes / _BYTES_A_MB, 6),
            },
        )


def _refusal(status: int, code: str, message: str, info: RequestInfo) -> Response:
    return error_response(status, code, message, info.request_id, headers=_CLOSE)


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
