"""Drivers: a capture read without K2, and what raw sockets answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from conformance.drivers.capture_truth import read_truth
from conformance.drivers.http import metric, raw_request
from k2.feeds.capture_writer import write_capture
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings


def test_the_truth_of_a_capture_is_what_was_written(tmp_path: Path) -> None:
    feed = list(SyntheticExchange(SyntheticSettings(seed=8, records=400, one_sided_rate=0.1)))
    lines = write_capture(feed, tmp_path / "capture.gz", depth_every=100)
    truth = read_truth(tmp_path / "capture.gz")
    assert truth.lines == lines
    assert truth.others == {"reply": 1, "depth": 4}
    for data_type, records in truth.records.items():
        written = [item.record for item in feed if item.data_type == data_type]
        assert len(records) == len(written) > 50
        for found, record in zip(records, written, strict=True):
            assert found == {name: plain(name, record[name]) for name in found}


def plain(name: str, value: object) -> object:
    is_decimal = name.endswith(("price", "quantity")) and value is not None
    return Decimal(str(value)) if is_decimal else value


@contextmanager
def server(answer: bytes, *, closes: bool) -> Iterator[tuple[str, list[bytes]]]:
    """One that answers one connection with these bytes, and then closes it or falls silent."""
    received: list[bytes] = []
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(65_536))
            connection.sendall(answer)
            if not closes:
                done.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize("closes", [True, False])
def test_a_raw_answer_is_taken_apart_and_says_whether_the_server_closed(closes: bool) -> None:
    with server(b"HTTP/1.1 413 No\r\nX-Why: large\r\nContent-Length: 2\r\n\r\nhi", closes=closes) as (url, received):
        answer = raw_request(url, ["POST / HTTP/1.1", "Host: t"], [])
    assert (answer.status, answer.headers["x-why"], answer.body, answer.closed) == (413, "large", b"hi", closes)
    assert received == [b"POST / HTTP/1.1\r\nHost: t\r\n\r\n"]


def test_a_server_that_closes_without_a_word_has_no_status() -> None:
    with server(b"", closes=True) as (url, _):
        answer = raw_request(url, ["GET / HTTP/1.1"], [])
    assert (answer.status, answer.body, answer.closed) == (None, b"", True)


def test_a_metric_is_summed_over_the_samples_with_its_labels() -> None:
    text = 'hits_total{a="1",b="x"} 2.0\nhits_total{a="1",b="y"} 3.0\nhits_total{a="2"} 5.0\nhits_total_more 7.0\n'
    assert metric(text, "hits_total", {"a": "1"}) == 5
    assert metric(text, "hits_total", {}) == 10
    assert metric(text, "misses_total", {}) == 0
