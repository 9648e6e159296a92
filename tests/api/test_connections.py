"""Connections over real sockets: slow readers, bodies that dribble, pipelines, framing, too many of them."""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.api.protocol import MOST_PIPELINED
from k2.records.definition import TRADE
from tests.api.conftest import Served, read_to_end, served_api
from tests.query.table_files import FileTableSource, trade_rows

TIMEOUT_SECONDS = 1.0
HEALTH = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"
# Far more than the buffers of two sockets.
LONG_ANSWER = b'{"queries":[' + b",".join([b'{"limit":1000}'] * 50) + b"]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("connections")
    FileTableSource(folder).commit(TRADE, trade_rows(1_000))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    limits = ("header_read_timeout_seconds", "body_read_timeout_seconds", "write_timeout_seconds")
    with served_api(folder, **dict.fromkeys(limits, TIMEOUT_SECONDS), idle_timeout_seconds=TIMEOUT_SECONDS) as served:
        yield served


def post(body: bytes, *headers: bytes) -> bytes:
    lines = (b"POST /v1/trades/query HTTP/1.1", b"Host: t", b"Content-Type: application/json", *headers)
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def answers(received: bytes) -> list[int]:
    """The statuses of the answers on one connection."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def seconds_until_closed(connection: socket.socket, started: float) -> float:
    """When the other side ended the connection, though nothing is read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    assert poll.poll(15_000), "the connection was not closed"
    return time.monotonic() - started


def test_a_client_that_reads_nothing_of_a_long_answer_is_given_up(server: Served) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(post(LONG_ANSWER))
        assert connection.recv(10, socket.MSG_WAITALL).startswith(b"HTTP/1.1 2")
        assert seconds_until_closed(connection, time.monotonic()) < TIMEOUT_SECONDS + 8


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_it(server: Served) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(post(LONG_ANSWER, b"Connection: close"))
        received = 0
        started = time.monotonic()
        while piece := connection.recv(1_000_000):
            received += len(piece)
            if time.monotonic() - started < TIMEOUT_SECONDS * 3:
                time.sleep(0.05)
    assert received > 20_000_000


def test_a_body_that_dribbles_is_given_up(server: Served) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(post(b"x" * 1_000)[:-999])
        with contextlib.suppress(OSError):
            while not select.select([connection], [], [], 0.1)[0]:
                connection.sendall(b"x")
        assert read_to_end(connection).startswith(b"HTTP/1.1 408")
    assert TIMEOUT_SECONDS - 0.1 < time.monotonic() - started < TIMEOUT_SECONDS + 8


def test_empty_lines_between_requests_do_not_keep_a_connection(server: Served) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(HEALTH)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(OSError):
            while not select.select([connection], [], [], 0.2)[0]:
                connection.sendall(b"\r\n")
        assert answers(read_to_end(connection)) in ([408], [])
    assert time.monotonic() - started < TIMEOUT_SECONDS + 8


def test_what_came_before_a_malformed_request_is_answered_first(server: Served) -> None:
    received = server.exchange(post(b'{"queries":[{}]}') + HEALTH + b"once upon a time\r\n\r\n")
    assert answers(received) == [200, 200, 400]


def test_requests_too_far_ahead_of_their_answers_are_refused(server: Served) -> None:
    received = server.exchange(HEALTH * (MOST_PIPELINED + 10))
    assert answers(received) == [200] * answers(received).count(200) + [400]
    assert 1 <= answers(received).count(200) <= MOST_PIPELINED + 1


@pytest.mark.parametrize(
    ("pieces", "statuses"),
    [
        ([b"1;" + b"x" * 1_000_000], {400}),
        ([b"1;", *[b"x" * 1_000] * 1_000], {400}),
        ([b"1\r\nx\r\n0\r\n", *[b"X-%d: %b\r\n" % (n, b"y" * 1_000) for n in range(60)]], {400, 431}),
    ],
)
def test_framing_and_trailers_without_end_are_refused(server: Served, pieces: list[bytes], statuses: set[int]) -> None:
    head = b"POST /v1/trades/query HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    (status,) = answers(server.exchange(head, *pieces))
    assert status in statuses


def test_chunks_of_one_byte_each_are_a_body_like_any_other(server: Served) -> None:
    head = b"POST /v1/trades/query HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nConnection: close\r\n"
    body = b'{"queries":[{}]}' + b" " * 20_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    assert answers(server.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")) == [200]


@pytest.mark.parametrize("size", [40_000, 200_000])
def test_a_large_head_is_refused_also_when_it_comes_whole(server: Served, size: int) -> None:
    for name in (b"X-Large: ", b"Cookie: a="):
        received = server.exchange(b"GET /health HTTP/1.1\r\nHost: t\r\n" + name + b"x" * size + b"\r\n\r\n")
        assert answers(received) == [431]
    assert answers(server.exchange(b"GET /health?" + b"x" * size + b" HTTP/1.1\r\nHost: t\r\n\r\n")) == [431]


def test_a_refusal_can_be_read_by_a_client_that_is_still_sending(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(post(b"")[:-5] + b"99999999\r\n\r\n")
        time.sleep(0.2)
        connection.sendall(b"x" * 500_000)
        time.sleep(0.1)
        received = read_to_end(connection)
    assert answers(received) == [413]


def test_an_upgrade_is_not_followed(server: Served) -> None:
    for protocol in (b"websocket", b"h2c"):
        request = b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
        assert answers(server.exchange(request))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n",
        b"CONNECT host:443 HTTP/1.1\r\nHost: t\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /health HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked, gzip\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_whatever_is_no_request_is_answered_in_the_envelope(server: Served, request_bytes: bytes) -> None:
    received = server.exchange(request_bytes)
    status = answers(received)[0]
    assert 400 <= status < 500
    error = json.loads(received.partition(b"\r\n\r\n")[2])["error"]
    assert error["status"] == status
    assert error["request_id"].encode() in received.partition(b"\r\n\r\n")[0]


def test_a_connection_too_many_is_told_so_and_others_are_served(folder: Path) -> None:
    with served_api(folder, most_connections=5) as served, contextlib.ExitStack() as stack:
        first = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 10)) for _ in range(5)]
        time.sleep(0.2)
        refused = served.exchange()
        assert answers(refused) == [503]
        assert b"retry-after: 1\r\n" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "TOO_MANY_CONNECTIONS"
        first[0].sendall(HEALTH)
        assert first[0].recv(65_536).startswith(b"HTTP/1.1 200")
