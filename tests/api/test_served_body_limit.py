"""The body limit over real sockets against the really served application."""

import itertools
import json
import socket
from collections.abc import Iterator

import pytest

from k2.records.definition import TRADE
from tests.api.conftest import Served, read_to_end, served_api
from tests.query.table_files import FileTableSource, trade_rows

LIMIT = 64 * 1024
PIECE = 4_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("warehouse")
    FileTableSource(folder).commit(TRADE, trade_rows(5))
    with served_api(folder, body_limit_bytes=LIMIT) as served:
        yield served


def query_body(size: int) -> bytes:
    """A bulk query that is exactly `size` bytes of JSON."""
    bare = b'{"queries":[{}]}'
    return bare[:-1] + b" " * (size - len(bare)) + bare[-1:]


def head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE):
        piece = body[start : start + PIECE]
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def status_and_body(received: bytes) -> tuple[int, bytes, bytes]:
    """Status, headers and body of the first answer."""
    headers, _, rest = received.partition(b"\r\n\r\n")
    return int(headers.split()[1]), headers.lower(), rest


def counted(served: Served, name: str) -> float:
    exposition = served.exchange(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in exposition.splitlines() if line.startswith(f"{name}{{"))


@pytest.mark.parametrize(
    ("how", "size", "path"),
    list(
        itertools.product(
            ("declared", "chunked"), (LIMIT - 1, LIMIT, LIMIT + 1), ("/v1/trades/query", "/health", "/nowhere")
        )
    ),
)
def test_the_limit_is_exact_whether_declared_or_chunked_and_whoever_reads(
    served: Served, how: str, size: int, path: str
) -> None:
    body = query_body(size)
    if how == "declared":
        pieces = [head(path, f"Content-Length: {size}", "Connection: close"), body]
    else:
        pieces = [head(path, "Transfer-Encoding: chunked", "Connection: close"), *chunked(body)]
    status, headers, answer = status_and_body(served.exchange(*pieces))
    let_through = {"/v1/trades/query": 200, "/health": 405, "/nowhere": 404}[path]
    assert status == (413 if size > LIMIT else let_through)
    assert json.loads(answer)["success"] is (status == 200)
    if status == 413:
        error = json.loads(answer)["error"]
        assert error["code"] == "PAYLOAD_TOO_LARGE"
        assert error["limit_mb"] == 0.0625
        assert error["size_mb"] > 0.0625
        assert b"connection: close" in headers


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_bytes_beyond_a_declared_length_never_reach_a_handler(served: Served, size: int) -> None:
    body = query_body(size)
    bare = b'{"queries":[{}]}'
    received = served.exchange(head("/v1/trades/query", f"Content-Length: {len(bare)}") + bare + body)
    # What follows is taken for another request, and is none; if both came at once, the first is not answered either.
    assert received.rpartition(b"HTTP/1.1 ")[2].startswith(b"400")
    assert received.count(b"HTTP/1.1 ") <= 2


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_a_body_shorter_than_declared_is_judged_by_what_was_declared(served: Served, size: int) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 5) as connection:
        connection.sendall(head("/v1/trades/query", f"Content-Length: {size}") + b"{")
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 413") is (size > LIMIT)
    assert b"200 OK" not in received


def test_an_endless_body_is_cut_off_and_the_connection_closed(served: Served) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", served.port), 5) as connection:
        connection.sendall(head("/health", "Transfer-Encoding: chunked"))
        try:
            while sent < 50 * 1024 * 1024:
                connection.sendall(b"%x\r\n%b\r\n" % (PIECE, b"x" * PIECE))
                sent += PIECE
        except OSError:
            pass
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 413")
    assert sent < 20 * 1024 * 1024


def test_an_upload_that_asks_first_is_refused_before_it_begins(served: Served) -> None:
    received = served.exchange(head("/v1/trades/query", f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
    assert received.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-1", "ten", "+5", "1e3", ""])
def test_an_unusable_length_is_400_and_the_connection_closed(served: Served, length: str) -> None:
    before = counted(served, "http_request_size_limit_errors_total")
    received = served.exchange(head("/v1/trades/query", f"Content-Length: {length}") + b"{}")
    status, headers, answer = status_and_body(received)
    assert status == 400
    assert json.loads(answer)["error"]["code"] == "INVALID_CONTENT_LENGTH"
    assert b"connection: close" in headers
    assert counted(served, "http_request_size_limit_errors_total") == before + 1


def test_zero_is_allowed_and_get_is_not_read(served: Served) -> None:
    zero = served.exchange(head("/health", "Content-Length: 0", "Connection: close"))
    assert zero.startswith(b"HTTP/1.1 405")
    plain = served.exchange(b"GET /v1/trades?limit=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert plain.startswith(b"HTTP/1.1 200")


def test_chunks_that_cannot_be_read_are_400_in_the_envelope(served: Served) -> None:
    received = served.exchange(head("/health", "Transfer-Encoding: chunked") + b"zz\r\nhello\r\n")
    status, _, answer = status_and_body(received)
    assert status == 400
    assert json.loads(answer)["error"]["code"] == "BAD_REQUEST"


def test_every_refusal_is_counted_by_route(served: Served) -> None:
    before = counted(served, "http_request_size_limit_exceeded_total")
    for path in ("/health", "/nowhere/1", "/nowhere/2"):
        served.exchange(head(path, f"Content-Length: {LIMIT + 1}"))
    assert counted(served, "http_request_size_limit_exceeded_total") == before + 3
