"""The embedded broker: there at once with its topics, several side by side, and gone with whoever started it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from k2.embedded.broker import EmbeddedBroker

PATIENCE_SECONDS = 10.0
QUIET = {"log_level": 0}


def topics(bootstrap_servers: str) -> dict[str, int]:
    """Number of partitions by topic."""
    metadata = Producer({"bootstrap.servers": bootstrap_servers, **QUIET}).list_topics(timeout=PATIENCE_SECONDS)
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def cluster_id(bootstrap_servers: str) -> str:
    metadata = Producer({"bootstrap.servers": bootstrap_servers, **QUIET}).list_topics(timeout=PATIENCE_SECONDS)
    return str(metadata.cluster_id)


def answers(bootstrap_servers: str) -> bool:
    host, port = bootstrap_servers.split(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE_SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def produced(bootstrap_servers: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, **QUIET})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def end_of_log(bootstrap_servers: str, topic: str) -> int:
    client = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "readers", **QUIET})
    try:
        return int(client.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE_SECONDS)[1])
    finally:
        client.close()


@contextmanager
def broker_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "k2.embedded.broker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_its_topics_and_their_partitions_are_there_at_once() -> None:
    with EmbeddedBroker(("market.crypto.trades", "market.crypto.quotes"), partitions=3) as broker:
        assert topics(broker.bootstrap_servers) == {"market.crypto.trades": 3, "market.crypto.quotes": 3}


def test_it_listens_on_loopback_only() -> None:
    with EmbeddedBroker(()) as broker:
        assert broker.bootstrap_servers.startswith("127.0.0.1:")


def test_several_run_side_by_side_and_share_nothing() -> None:
    with EmbeddedBroker(("trades",)) as first, EmbeddedBroker(("trades",)) as second:
        produced(first.bootstrap_servers, "trades", b"one", b"two")
        produced(second.bootstrap_servers, "trades", b"three")
        assert end_of_log(first.bootstrap_servers, "trades") == 2
        assert end_of_log(second.bootstrap_servers, "trades") == 1
        assert cluster_id(first.bootstrap_servers) != cluster_id(second.bootstrap_servers)


def test_it_keeps_what_was_acknowledged() -> None:
    with EmbeddedBroker(("trades",)) as broker:
        produced(broker.bootstrap_servers, "trades", *[b"x"] * 1_000)
        assert end_of_log(broker.bootstrap_servers, "trades") == 1_000


@pytest.mark.parametrize("closings", [1, 2])
def test_after_close_nobody_answers_and_closing_again_does_nothing(closings: int) -> None:
    broker = EmbeddedBroker(("trades",))
    assert answers(broker.bootstrap_servers)
    for _ in range(closings):
        broker.close()
    assert not answers(broker.bootstrap_servers)


def test_an_exception_leaves_the_context_and_the_broker_is_gone() -> None:
    cause = ValueError("the test broke")
    with pytest.raises(ValueError, match="the test broke"), EmbeddedBroker(()) as broker:
        raise cause
    assert not answers(broker.bootstrap_servers)


def test_as_a_process_it_says_its_address_and_ends_when_its_standard_input_closes() -> None:
    with broker_process("--topic", "trades", "--topic", "quotes", "--partitions", "2") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["bootstrap_servers"]
        assert topics(address) == {"trades": 2, "quotes": 2}
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert not answers(address)
