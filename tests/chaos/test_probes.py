"""Canaries against real sockets, states of real processes."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chaos.probes import exchange, states
from chaos.probes.canaries import http_request, kafka_request, redis_request, sqlite_canary
from chaos.probes.exchange import Request, TcpCanary
from chaos.probes.probe import Answer, ProbeLog
from k2.embedded.processes import ChildProcess

Serve = Callable[[socket.socket], None]
REQUEST = Request(b"ping", lambda received: received.endswith(b"!"))


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """A server on loopback that treats every connection alike."""
    threads: list[threading.Thread] = []

    def treat(connection: socket.socket) -> None:
        with connection:
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=treat, args=(connection,)))
            threads[-1].start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()


def answering(connection: socket.socket) -> None:
    while connection.recv(100):
        connection.sendall(b"pong!")


def once(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"pong!")


def silent(connection: socket.socket) -> None:
    while connection.recv(100):
        pass


def halved(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"po")


def canary(address: str, *, is_kept: bool = False) -> TcpCanary:
    return TcpCanary("canary", address, REQUEST, is_kept=is_kept, patience_seconds=2.0)


@pytest.mark.parametrize(
    ("serve", "seen"), [(answering, exchange.ANSWERED), (silent, exchange.SILENT), (halved, exchange.CLOSED)]
)
def test_a_canary_says_what_became_of_its_request(serve: Serve, seen: str) -> None:
    with server(serve) as address:
        assert canary(address).look() == Answer(seen == exchange.ANSWERED, seen)


def test_a_canary_is_refused_where_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    assert canary(address).look().text == exchange.REFUSED


def test_a_kept_connection_is_told_from_a_fresh_one() -> None:
    with server(once) as address:
        kept, fresh = canary(address, is_kept=True), canary(address)
        assert [fresh.look().is_well for _ in range(3)] == [True] * 3
        assert [kept.look().is_well for _ in range(3)] == [True, False, True]
        kept.close()


def test_readings_say_when_how_long_and_what() -> None:
    with server(answering) as address, ProbeLog([canary(address, is_kept=True)]) as log:
        began = time.time_ns()
        while log.fewest() < 3:
            time.sleep(0.01)
        assert log.well_since(0)
        assert not log.well_since(time.time_ns() + 10**9)
    rows = log.table().to_pylist()
    assert {row["answer"] for row in rows} == {exchange.ANSWERED}
    assert [row["wall_ns"] for row in rows] == sorted(row["wall_ns"] for row in rows)
    assert abs(rows[0]["wall_ns"] - began) < 10**10
    assert all(0 < row["seconds"] < 10 for row in rows)


def test_an_answer_of_a_broker_is_whole_with_its_last_byte() -> None:
    request = kafka_request()
    answers = b"".join(len(body).to_bytes(4, "big") + body for body in [b"x" * 300] * 20)
    assert request.is_whole(answers)
    assert not request.is_whole(answers[:-1])
    assert len(request.body) == 20 * 16


def test_pages_are_counted_by_their_length() -> None:
    request = http_request("h", "/", repeats=2)
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert request.is_whole(page + page)
    assert request.is_whole(chunked + page)
    assert not request.is_whole(page + page[:-1])
    assert not request.is_whole(page + chunked[:-4])


def test_redis_may_refuse_or_say_it_all() -> None:
    request = redis_request("k2", "secret")
    assert request.is_whole(b"-WRONGPASS no\r\n")
    assert request.is_whole(b"+OK\r\n$3\r\nxxx\r\n")
    assert not request.is_whole(b"+OK\r\n$3\r\nxx")


def test_a_catalog_that_is_not_there_is_an_answer_too(tmp_path: Path) -> None:
    assert not sqlite_canary("catalog", tmp_path / "nowhere" / "catalog.db").look().is_well


def test_the_state_of_a_process_is_seen(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", ["http.server", "0", "--bind", "127.0.0.1"], tmp_path / "log")
    probe = states.ProcessState("sleeper state", lambda: child)
    try:
        assert probe.look() == Answer(True, states.RUNNING)
        child.signal(signal.SIGSTOP)
        wait_for(lambda: probe.look().text == states.STOPPED)
        child.signal(signal.SIGCONT)
        wait_for(lambda: probe.look().text == states.RUNNING)
    finally:
        child.signal(signal.SIGKILL)
        child.wait(20)
    assert probe.look() == Answer(False, states.ENDED)


def test_lines_are_counted_also_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    probe = states.LineCount("cuts", tmp_path / "cuts")
    assert probe.look() == Answer(True, "0")
    (tmp_path / "cuts").write_text("a\nb\n")
    assert probe.look().text == "2"


def wait_for(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
