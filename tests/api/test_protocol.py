"""Requests that never become one, over real sockets: answered in the envelope, counted, and closed."""

import json
import time
from collections.abc import Iterator

import pytest

from conformance.drivers.http import metric
from k2.records.definition import TRADE
from tests.api.conftest import Served, served_api
from tests.query.table_files import FileTableSource, trade_rows

HEAD_TIMEOUT_SECONDS = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("protocol")
    FileTableSource(folder).commit(TRADE, trade_rows(10))
    with served_api(folder, header_read_timeout_seconds=HEAD_TIMEOUT_SECONDS) as served:
        yield served


def counted(server: Served, name: str, **labels: str) -> float:
    answer = server.exchange(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return metric(answer.decode(), name, labels)


def assert_refused(received: bytes, status: int, code: str) -> None:
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    assert document["error"]["code"] == code
    lines = head.decode().lower().split("\r\n")
    assert f"content-length: {len(body)}" in lines
    assert sum(line.startswith("x-request-id: ") for line in lines) == 1


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ((b"GET /health HTTP/1.1\r\nHost: test",), 408, "REQUEST_TIMEOUT"),
        ((b"GET /health HTTP/1.1\r\nX: ", b"x" * 40_000), 431, "HEADER_TOO_LARGE"),
        ((b"POST /v1/trades/query HTTP/1.1\r\nContent-Length: x\r\n\r\n",), 400, "INVALID_CONTENT_LENGTH"),
        ((b"once upon a time\r\n\r\n",), 400, "BAD_REQUEST"),
    ],
)
def test_a_head_that_is_none_is_refused_in_the_envelope_and_counted(
    server: Served, pieces: tuple[bytes, ...], status: int, code: str
) -> None:
    labels = {"endpoint": "unmatched", "method": "OTHER", "status": str(status)}
    before = counted(server, "k2_http_requests_total", **labels)
    assert_refused(server.exchange(*pieces), status, code)
    assert counted(server, "k2_http_requests_total", **labels) == before + 1


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (b"Content-Length: twelve", "not_a_number"),
        (b"Content-Length: 1\r\nContent-Length: 2", "duplicate"),
        (b"Content-Length: 99999999999999999999999", "overflow"),
    ],
)
def test_a_length_that_cannot_be_used_is_counted_by_its_reason(server: Served, headers: bytes, reason: str) -> None:
    name = "http_request_size_limit_errors_total"
    before = counted(server, name, reason=reason)
    assert_refused(
        server.exchange(b"POST /v1/trades/query HTTP/1.1\r\nHost: t\r\n%b\r\n\r\n" % headers),
        400,
        "INVALID_CONTENT_LENGTH",
    )
    assert counted(server, name, reason=reason) == before + 1


def test_a_silent_client_is_closed_without_a_word(server: Served) -> None:
    started = time.monotonic()
    assert server.exchange() == b""
    assert HEAD_TIMEOUT_SECONDS - 0.3 < time.monotonic() - started < 8


def test_a_slow_but_timely_head_is_served(server: Served) -> None:
    assert server.exchange(b"GET /health HTTP/1.1\r\n", b"Host: t\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )
