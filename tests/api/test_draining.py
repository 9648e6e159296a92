"""Told to stop, a server is not ready first, then takes no connections, answers what it has, and ends in time."""

import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from k2.records.definition import TRADE
from tests.api.conftest import Served, served_api
from tests.query.table_files import FileTableSource, trade_rows

HEALTH = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"
NOTICE_SECONDS = 1.0
BULK = b'{"queries":[' + b",".join([b'{"limit":50}'] * 100) + b"]}"
BULK_REQUEST = (
    b"POST /v1/trades/query HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BULK), BULK)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draining")
    FileTableSource(folder).commit(TRADE, trade_rows(2_000))
    return folder


def test_readiness_goes_first_and_everything_else_is_still_served_until_it_is_noticed(folder: Path) -> None:
    with served_api(folder, drain_notice_seconds=NOTICE_SECONDS) as served:
        with socket.create_connection(("127.0.0.1", served.port), 10) as kept:
            assert ask(kept).startswith(b"HTTP/1.1 200")
            served.process.send_signal(signal.SIGTERM)
            health = until_not_ready(served)
            data = served.exchange(b"GET /v1/trades?limit=1 HTTP/1.1\r\nHost: t\r\n\r\n")
            last = ask(kept)
        document = json.loads(health.partition(b"\r\n\r\n")[2])
        assert (document["live"], document["ready"], document["status"]) == (True, False, "stopping")
        assert document["error"]["code"] == "NOT_READY"
        assert data.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in data.partition(b"\r\n\r\n")[0].lower()
        assert last.startswith(b"HTTP/1.1 503")
        assert b"connection: close" in last.lower()
        assert served.process.wait(timeout=20) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port), 1)


def ask(connection: socket.socket) -> bytes:
    """One answer of /health on a connection that may be kept."""
    connection.sendall(HEALTH)
    received = b""
    while not received.endswith(b"}"):
        piece = connection.recv(65_536)
        assert piece, "closed in the middle of an answer"
        received += piece
    return received


def until_not_ready(served: Served) -> bytes:
    give_up_at = time.monotonic() + 10
    while True:
        answer = served.exchange(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        if answer.startswith(b"HTTP/1.1 503"):
            return answer
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_what_has_not_ended_at_the_limit_is_cut_off_with_an_answer(folder: Path) -> None:
    with served_api(folder, drain_notice_seconds=0, drain_limit_seconds=0.05, time_limit_seconds=20) as served:
        answers: list[bytes] = []
        asking = [
            threading.Thread(target=lambda: answers.append(served.exchange(BULK_REQUEST, timeout_seconds=20)))
            for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        time.sleep(0.3)
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=20) == 0
        assert time.monotonic() - started < 10
        for thread in asking:
            thread.join(timeout=20)
    cut_off = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503")]
    assert cut_off, "every request was over before the limit, so nothing was shown"
    assert json.loads(cut_off[0].partition(b"\r\n\r\n")[2])["error"]["code"] == "STOPPING"
    assert all(answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) for answer in answers)
