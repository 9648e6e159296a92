"""Servers are asked whether they answer, each by itself."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.observability.metrics import Metrics
from k2.resilience.breakers import Dependency
from k2.resilience.reachability import (
    HTTP_GREETING,
    KAFKA_GREETING,
    POSTGRESQL_GREETING,
    Reachability,
    ServerAddress,
    answers,
)


@contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server, server.getsockname()[1]


def server_at(port: int, greeting: bytes = b"") -> ServerAddress:
    return ServerAddress(Dependency.CATALOG, "127.0.0.1", port, greeting)


def test_a_broker_answers_its_greeting() -> None:
    with EmbeddedBroker(("market.crypto.trades",), 1) as broker:
        host, _, port = broker.bootstrap_servers.rpartition(":")
        assert answers(ServerAddress(Dependency.BROKER, host, int(port), KAFKA_GREETING), 5)


def test_a_port_nobody_listens_on_does_not_answer() -> None:
    with listening() as (_, port):
        pass
    assert not answers(server_at(port), 1)


@pytest.mark.parametrize("greeting", [KAFKA_GREETING, POSTGRESQL_GREETING, HTTP_GREETING])
def test_a_server_that_accepts_and_says_nothing_does_not_answer(greeting: bytes) -> None:
    with listening() as (_, port):
        assert answers(server_at(port), 1)
        assert not answers(server_at(port, greeting), 0.05)


def test_a_proxy_that_hangs_up_because_its_server_is_gone_has_not_answered() -> None:
    with listening() as (server, port):

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(64)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert not answers(server_at(port, POSTGRESQL_GREETING), 5)
        thread.join()


def test_of_several_servers_each_has_its_own_sample() -> None:
    metrics = Metrics()
    with listening() as (_, there):
        with listening() as (_, gone):
            pass
        servers = [ServerAddress(Dependency.BROKER, "127.0.0.1", port) for port in (there, gone)]
        with Reachability(servers, metrics, 60).watching():
            values = [
                metrics.registry.get_sample_value("k2_dependency_up", {"dependency": "broker", "address": str(server)})
                for server in servers
            ]
    assert values == [1.0, 0.0]


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    assert str(ServerAddress(Dependency.BROKER, "::1", 9092)) == "[::1]:9092"
