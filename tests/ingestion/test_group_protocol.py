"""Who rules a group of consumers: one of its members, or the brokers."""

from typing import Literal

import pytest
from confluent_kafka import Consumer

from k2.ingestion.kafka import consumer_configuration
from k2.settings import KafkaSettings

RULED_BY_A_MEMBER = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}


def test_a_member_brings_its_session_and_moves_only_what_must_move() -> None:
    configuration = consumer_configuration(KafkaSettings(session_timeout_ms=7_000, heartbeat_interval_ms=700))
    assert configuration["partition.assignment.strategy"] == "cooperative-sticky"
    assert (configuration["session.timeout.ms"], configuration["heartbeat.interval.ms"]) == (7_000, 700)
    assert "group.protocol" not in configuration


def test_what_the_brokers_decide_is_not_told_them() -> None:
    configuration = consumer_configuration(KafkaSettings(group_protocol="consumer"))
    assert configuration["group.protocol"] == "consumer"
    assert not RULED_BY_A_MEMBER & set(configuration)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_the_client_takes_the_configuration(protocol: Literal["classic", "consumer"]) -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9", group_protocol=protocol)
    Consumer(consumer_configuration(settings)).close()
