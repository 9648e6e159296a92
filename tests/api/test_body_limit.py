"""The body limit below HTTP: what the server hands over is counted, whatever was declared."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from k2.api import problems
from k2.api.body_limit import BodyLimit, BodyLimits
from k2.api.observed import ObservedRequests
from k2.api.request_info import EndpointNames
from k2.clock import SystemClock
from k2.observability.metrics import Metrics
from tests.api.conftest import error_document

LIMIT = 1_000
OVER = "http_request_size_limit_exceeded_total"
ERRORS = "http_request_size_limit_errors_total"


@dataclass
class Exchange:
    """One request put to the two layers around a recording application."""

    reads: bool = True
    read_timeout_seconds: float = 5.0
    slowest_bytes_per_second: float = 1e6
    together_bytes: int = 10 * LIMIT
    metrics: Metrics = field(default_factory=Metrics)
    seen: list[bytes] = field(default_factory=list)
    calls: int = 0
    unread: int = 0
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)

    def request(
        self, chunks: Iterable[bytes | None], headers: Iterable[tuple[bytes, bytes]] = (), method: str = "POST"
    ) -> None:
        """Send the chunks; None stands for a client that leaves."""
        messages: list[Message] = [
            {"type": "http.disconnect"} if chunk is None else {"type": "http.request", "body": chunk, "more_body": True}
            for chunk in chunks
        ]
        if messages and messages[-1]["type"] == "http.request":
            messages[-1]["more_body"] = False
        asyncio.run(self._run(messages, list(headers), method))

    async def _run(
        self,
        messages: list[Message],
        headers: list[tuple[bytes, bytes]],
        method: str,
        receive: Receive | None = None,
    ) -> None:
        async def from_messages() -> Message:
            if not messages:
                await asyncio.sleep(60)
            return messages.pop(0)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], dict(message["headers"])
            elif message.get("body"):
                self.body = orjson.loads(message["body"])

        limited = BodyLimit(
            self._application,
            limits=BodyLimits(LIMIT, self.together_bytes, self.read_timeout_seconds, self.slowest_bytes_per_second),
            metrics=self.metrics,
            readers=[(name, "/v1/thing") for name in ("POST", "PUT", "PATCH", "GET", "OTHER")] if self.reads else [],
        )
        layers = ObservedRequests(
            limited,
            endpoints=EndpointNames(["/v1/thing"]),
            metrics=self.metrics,
            clock=SystemClock(),
            new_request_id=lambda: "made-0",
        )
        scope = {"type": "http", "method": method, "path": "/v1/thing", "headers": headers}
        await layers(scope, receive or from_messages, send)
        self.unread = len(messages)

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        while self.reads:
            message = await receive()
            self.seen.append(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def declared(size: object) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(size).encode())]


CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("headers", [declared(LIMIT), CHUNKED, [], declared(1), declared(0)])
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "QUERY"])
@pytest.mark.parametrize(("last", "status"), [(99, 200), (100, 200), (101, 413)])
def test_bodies_are_let_through_up_to_exactly_the_limit(
    headers: list[tuple[bytes, bytes]], reads: bool, method: str, last: int, status: int
) -> None:
    exchange = Exchange(reads=reads)
    exchange.request([b"a" * 500, b"b" * 400, b"c" * last], headers, method)
    assert exchange.status == status
    assert exchange.calls == (status == 200)
    if status == 200 and reads:
        assert exchange.seen == [b"a" * 500 + b"b" * 400 + b"c" * last]
    label = "OTHER" if method == "QUERY" else method
    assert exchange.metrics.value(OVER, {"method": label, "endpoint": "/v1/thing"}) == (status == 413)


def test_a_declared_length_over_the_limit_is_refused_without_reading() -> None:
    exchange = Exchange()
    exchange.request([b"a"] * 5, declared(LIMIT + 1))
    assert exchange.unread == 5
    assert exchange.status == 413
    assert exchange.headers[b"connection"] == b"close"
    assert exchange.body == error_document(
        problems.PAYLOAD_TOO_LARGE,
        "the body is over the limit of 1000 bytes; send it in smaller requests",
        size_mb=round((LIMIT + 1) / 2**20, 6),
        limit_mb=round(LIMIT / 2**20, 6),
    )


def test_reading_stops_at_the_chunk_that_crosses_the_limit() -> None:
    exchange = Exchange()
    exchange.request([b"a" * 600] * 50, CHUNKED)
    assert (exchange.status, exchange.unread) == (413, 48)
    assert exchange.body["error"]["size_mb"] == round(1_200 / 2**20, 6)


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        ("-1", "negative"),
        ("-0", "negative"),
        *((text, "not_a_number") for text in ("ten", "", "+5", "1e3", "5, 6", "0x10", "--1")),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_unusable_length_is_400_and_counted(length: str, reason: str, method: str) -> None:
    exchange = Exchange()
    exchange.request([b"a"], declared(length), method)
    assert exchange.status == 400
    assert exchange.body["error"]["code"] == "INVALID_CONTENT_LENGTH"
    assert exchange.metrics.value(ERRORS, {"reason": reason}) == 1
    assert exchange.calls == 0


def test_two_lengths_that_differ_are_ambiguous_and_two_equal_ones_are_not() -> None:
    exchange = Exchange()
    exchange.request([b"a"], [*declared(1), *declared(2)])
    assert (exchange.status, exchange.metrics.value(ERRORS, {"reason": "ambiguous"})) == (400, 1)
    exchange.request([b"a"], [*declared(1), *declared(1)])
    assert exchange.status == 200


@pytest.mark.parametrize("length", ["9" * 19, "9" * 20, "9" * 5_000])
def test_a_length_of_any_number_of_digits_is_only_too_large(length: str) -> None:
    exchange = Exchange()
    exchange.request([b"a"], declared(length))
    assert exchange.status == 413


@pytest.mark.parametrize("length", ["1", " 1 ", "0001", "0" * 30 + "1"])
def test_a_length_may_be_padded(length: str) -> None:
    exchange = Exchange()
    exchange.request([b"a"], declared(length))
    assert (exchange.status, exchange.seen) == (200, [b"a"])


def test_zero_is_a_length() -> None:
    exchange = Exchange()
    exchange.request([b""], declared(0))
    assert (exchange.status, exchange.seen) == (200, [b""])


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_requests_without_a_body_are_not_read(method: str) -> None:
    exchange = Exchange(reads=False)
    exchange.request([b""], method=method)
    assert (exchange.status, exchange.unread) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("headers", [declared(LIMIT + 1), CHUNKED])
def test_a_body_is_limited_also_where_none_is_usual(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    exchange = Exchange(reads=False)
    exchange.request([b"a" * (LIMIT + 1)], headers, method)
    assert exchange.status == 413


def test_a_client_that_leaves_midway_reaches_no_handler() -> None:
    exchange = Exchange()
    exchange.request([b"a", None], CHUNKED)
    assert (exchange.status, exchange.calls) == (400, 0)
    assert exchange.body["error"]["code"] == "INCOMPLETE_BODY"


def test_a_body_that_does_not_arrive_is_408() -> None:
    exchange = Exchange(read_timeout_seconds=0.05)

    async def run() -> None:
        await exchange._run([{"type": "http.request", "body": b"a", "more_body": True}], CHUNKED, "POST")

    asyncio.run(run())
    assert (exchange.status, exchange.calls) == (408, 0)
    assert exchange.body["error"]["code"] == "REQUEST_TIMEOUT"
    assert exchange.headers[b"connection"] == b"close"


def test_a_body_that_goes_on_arriving_gets_more_time_and_one_that_dribbles_does_not() -> None:
    async def dribble(exchange: Exchange, piece: bytes) -> None:
        messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for _ in range(8)]
        messages[-1]["more_body"] = False

        async def slowly() -> Message:
            await asyncio.sleep(0.05)
            return messages.pop(0)

        await exchange._run(messages, CHUNKED, "POST", slowly)

    steady = Exchange(read_timeout_seconds=0.2, slowest_bytes_per_second=1_000)
    asyncio.run(dribble(steady, b"a" * 100))
    assert (steady.status, steady.seen) == (200, [b"a" * 800])
    dribbling = Exchange(read_timeout_seconds=0.2, slowest_bytes_per_second=1_000)
    asyncio.run(dribble(dribbling, b"a"))
    assert (dribbling.status, dribbling.calls) == (408, 0)


def test_bodies_that_do_not_fit_together_are_503_and_make_room_again() -> None:
    exchange = Exchange(together_bytes=700)
    exchange.request([b"a" * 600, b"b" * 101], CHUNKED)
    assert (exchange.status, exchange.calls) == (503, 0)
    assert exchange.body["error"]["code"] == "TOO_MANY_BODIES"
    assert exchange.headers[b"retry-after"] == b"1"
    exchange.request([b"a" * 700], CHUNKED)
    assert (exchange.status, exchange.seen) == (200, [b"a" * 700])


def test_a_body_nobody_reads_is_thrown_away_as_it_comes() -> None:
    exchange = Exchange(reads=False, together_bytes=1)
    exchange.request([b"a" * 500, b"b" * 500], CHUNKED)
    assert (exchange.status, exchange.calls) == (200, 1)


def test_what_follows_the_body_still_comes_from_the_server() -> None:
    later: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        later.append((await receive())["type"])

    exchange = Exchange()
    exchange._application = application  # type: ignore[method-assign]
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    asyncio.run(exchange._run(messages, [], "POST"))
    assert later == ["http.disconnect"]
    labels = {"method": "POST", "endpoint": "/v1/thing", "status": "499"}
    assert exchange.metrics.value("k2_http_requests_total", labels) == 1


def test_other_kinds_of_connection_pass_untouched() -> None:
    seen: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    limited = BodyLimit(application, limits=BodyLimits(1, 1, 1.0, 1.0), metrics=Metrics(), readers=[])
    asyncio.run(limited({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
