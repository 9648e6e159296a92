"""Requests that fail in every way a single client can bring about, and what is wrong with the answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.drivers.http import RawAnswer, parsed
from conformance.drivers.streaming import stream_request

_MEMBERS = ("type", "title", "status", "detail", "instance", "code", "message", "request_id")
_JSON = b"Content-Type: application/json\r\n"
_BULK = b"POST /v1/trades/query HTTP/1.1\r\nHost: k2\r\n"
FAILURES: Mapping[str, tuple[int, str, bytes]] = {
    "no request at all": (400, "BAD_REQUEST", b"once upon a time\r\n\r\n"),
    "another protocol": (400, "BAD_REQUEST", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "unknown version": (400, "BAD_REQUEST", b"GET / HTTP/9.9\r\nHost: k2\r\n\r\n"),
    "control character": (400, "BAD_REQUEST", b"GET / HTTP/1.1\r\nHost: k2\r\nX: a\x00b\r\n\r\n"),
    "two lengths": (400, "INVALID_CONTENT_LENGTH", _BULK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    "chunks that are none": (400, "BAD_REQUEST", _BULK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
    "unknown path": (404, "NOT_FOUND", b"GET /v2/trades HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "hybrid, not offered yet": (404, "NOT_FOUND", b"GET /v1/hybrid/trades HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "unknown snapshot": (404, "SNAPSHOT_NOT_FOUND", b"GET /v1/trades?snapshot_id=7 HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "wrong method": (405, "METHOD_NOT_ALLOWED", b"DELETE /v1/trades HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "unknown method": (405, "METHOD_NOT_ALLOWED", b"PURGE /v1/trades HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "too large": (413, "PAYLOAD_TOO_LARGE", _BULK + b"Content-Length: 99999999\r\n\r\n"),
    "no media type": (415, "UNSUPPORTED_MEDIA_TYPE", _BULK + b"Content-Length: 2\r\n\r\n{}"),
    "no JSON": (422, "INVALID_PARAMETER", _BULK + _JSON + b"Content-Length: 1\r\n\r\n{"),
    "unknown field": (422, "INVALID_PARAMETER", _BULK + _JSON + b'Content-Length: 7\r\n\r\n{"a":1}'),
    "value out of range": (422, "INVALID_PARAMETER", b"GET /v1/trades?limit=0 HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "parameter given twice": (422, "INVALID_PARAMETER", b"GET /v1/trades?limit=1&limit=2 HTTP/1.1\r\nHost: k2\r\n\r\n"),
    "head too large": (431, "HEADER_TOO_LARGE", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
}


def failure(api_url: str, name: str) -> list[str]:
    """What is wrong with the answer to one of FAILURES; nothing if it is as it has to be."""
    status, code, request = FAILURES[name]
    return list(_problems(stream_request(api_url, request, []), status, code))


def _problems(answer: RawAnswer, status: int, code: str) -> Iterator[str]:
    if answer.status != status:
        yield f"status {answer.status}, {status} is due"
    if answer.headers.get("content-type") != "application/json":
        yield f"content type {answer.headers.get('content-type')}"
    document: Any = parsed(answer.body)
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or document.get("success") is not False:
        yield f"no envelope: {answer.body[:100]!r}"
        return
    yield from (f"no {name}" for name in _MEMBERS if not error.get(name))
    if error.get("code") != code:
        yield f"code {error.get('code')}, {code} is due"
    if error.get("status") != answer.status:
        yield f"says status {error.get('status')}"
    if error.get("request_id") != answer.headers.get("x-request-id"):
        yield f"request id {error.get('request_id')}, the header has {answer.headers.get('x-request-id')}"
