"""The server itself: addresses, slow and idle clients, stopping."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.api.server import listening_socket
from k2.errors import AddressInUseError, UsageError
from k2.records.definition import TRADE
from tests.api.conftest import ROOT, Served, read_to_end, served_api
from tests.query.table_files import FileTableSource, trade_rows

HEADER_TIMEOUT_SECONDS = 2
BULK = b'{"queries":[' + b",".join([b'{"limit":50}'] * 100) + b"]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    FileTableSource(folder).commit(TRADE, trade_rows(2_000))
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with served_api(folder, header_read_timeout_seconds=HEADER_TIMEOUT_SECONDS, time_limit_seconds=20) as served:
        yield served


def test_port_zero_is_a_free_port_that_is_printed(served: Served) -> None:
    assert served.line == f"K2 API listening on http://127.0.0.1:{served.port}"
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/v1/trades?limit=3") as answer:
        assert answer.status == 200
        assert b'"count":3' in answer.read()


def test_a_taken_port_is_one_clear_line_and_the_first_server_goes_on(served: Served, folder: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "tests.api.serve_tables", str(folder), f'{{"port": {served.port}}}'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == AddressInUseError.exit_code
    assert second.stdout == ""
    assert second.stderr.splitlines() == [
        f"127.0.0.1:{served.port} is taken; stop what listens there or set K2_API__PORT (0 picks a free port)"
    ]
    assert served.process.poll() is None


@pytest.mark.parametrize("shares", [False, True])
def test_an_address_something_listens_on_is_refused(shares: bool) -> None:
    with socket.socket() as other:
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressInUseError, match=rf"127\.0\.0\.1:{port} is taken"):
            listening_socket("127.0.0.1", port)


def test_an_address_is_taken_as_soon_as_it_was_given_and_free_after() -> None:
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AddressInUseError):
            listening_socket("127.0.0.1", port)
    listening_socket("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="K2_API__HOST"):
        listening_socket(host, 0)


def test_silent_slow_and_idle_clients_are_disconnected(served: Served) -> None:
    started = time.monotonic()
    with contextlib.ExitStack() as clients:
        silent, slow, idle = (
            clients.enter_context(socket.create_connection(("127.0.0.1", served.port), 20)) for _ in range(3)
        )
        slow.sendall(b"GET /health HTTP/1.1\r\nHost")
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        assert read_to_end(silent) == b""
        assert read_to_end(slow).startswith(b"HTTP/1.1 408")
        assert read_to_end(idle).startswith(b"HTTP/1.1 200")
    assert HEADER_TIMEOUT_SECONDS - 0.5 < time.monotonic() - started < 15


def test_a_head_that_never_ends_is_refused(served: Served) -> None:
    received = served.exchange(b"GET /health HTTP/1.1\r\n", *[b"X-%d: %b\r\n" % (n, b"x" * 1_000) for n in range(100)])
    assert received.startswith(b"HTTP/1.1 431")
    assert b'"code":"HEADER_TOO_LARGE"' in received


def test_hundreds_of_idle_clients_keep_nobody_out(served: Served) -> None:
    with contextlib.ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(socket.create_connection(("127.0.0.1", served.port), 5))
        started = time.monotonic()
        answer = served.exchange(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - started < HEADER_TIMEOUT_SECONDS - 0.2


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_hand_be_answered_and_takes_no_new_ones(
    folder: Path, stop: signal.Signals
) -> None:
    with served_api(folder) as served:
        answers: list[bytes] = []
        request = (
            b"POST /v1/trades/query HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BULK), BULK)
        )
        asking = threading.Thread(target=lambda: answers.append(served.exchange(request)))
        asking.start()
        time.sleep(0.1)
        was_asking = asking.is_alive()
        served.process.send_signal(stop)
        asking.join(timeout=20)
        assert served.process.wait(timeout=20) == 0
        assert was_asking, "the request was over before the signal, so nothing was shown"
        assert answers[0].startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port), 1)
