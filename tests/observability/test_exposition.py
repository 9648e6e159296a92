"""Metrics over HTTP: at a port of this machine alone, for as long as they are served."""

import socket
import urllib.error
import urllib.request

import pytest

from k2.errors import AddressInUseError
from k2.observability.exposition import served_metrics
from k2.observability.metrics import Metrics


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_the_metrics_are_served_as_they_are_now() -> None:
    metrics = Metrics()
    labels = {"data_type": "trades"}
    with served_metrics(metrics, 0) as url:
        assert "k2_messages_received_total{" not in read(url)
        metrics.increment("k2_messages_received_total", labels, 3)
        assert 'k2_messages_received_total{data_type="trades"} 3.0' in read(url)
    with pytest.raises(urllib.error.URLError):
        read(url)


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(AddressInUseError, match=rf"^port {port} on 127\.0\.0\.1 is taken: .*METRICS_PORT.*$"),
            served_metrics(Metrics(), port),
        ):
            pass


def test_the_port_can_be_had_again_at_once() -> None:
    with served_metrics(Metrics(), 0) as url:
        read(url)
    port = int(url.rsplit(":", 1)[1].partition("/")[0])
    with served_metrics(Metrics(), port) as again:
        assert again == url
        read(again)
