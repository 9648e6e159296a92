"""A prefix of the topics: platforms that share a cluster, a registry or both have nothing in common there."""

import json
from urllib.request import urlopen

import pytest
from pydantic import ValidationError

from conformance.stacks.schema_registry import SchemaRegistryServer
from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import open_registry
from k2.ingestion.topics import count_messages, create_topics, log_ends
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE, all_topics, topic
from k2.settings import KafkaSettings
from tests.ingestion.market_records import REGISTRY, trade, trades
from tests.ingestion.stage import kafka_settings, read_all

PREFIX = "desk-7."


def test_records_go_to_the_topics_behind_the_prefix() -> None:
    names = (topic("crypto", "trades"), topic("crypto", "trades", PREFIX))
    with EmbeddedBroker(names, 1) as broker:
        settings = kafka_settings(broker.bootstrap_servers, topic_prefix=PREFIX)
        with MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock()) as producer:
            producer.produce_trade("crypto", "BINANCE", trade(1))
            producer.produce_batch(TRADE, "crypto", trades(2, 3))
        assert [len(read_all(broker.bootstrap_servers, name)) for name in names] == [0, 3]


def test_subjects_stand_behind_the_prefix_too() -> None:
    with SchemaRegistryServer() as server:
        open_registry(KafkaSettings(schema_registry_url=server.url, topic_prefix=PREFIX)).schema_id("crypto", TRADE)
        with urlopen(f"{server.url}/subjects", timeout=10) as answer:
            assert json.load(answer) == ["desk-7.market.crypto.trades-value"]


def test_every_topic_has_its_dead_letters_behind_the_same_prefix() -> None:
    assert [PREFIX + name for name in all_topics()] == list(all_topics(PREFIX))
    assert len(set(all_topics())) == 12


def test_topics_that_are_there_stay_as_they_are() -> None:
    with EmbeddedBroker(all_topics(), 2) as broker:
        settings = kafka_settings(broker.bootstrap_servers)
        assert create_topics(settings, all_topics(), partitions=6, replication_factor=3) == ()


def test_messages_are_counted_by_topic_and_those_of_another_prefix_are_not() -> None:
    names = (topic("crypto", "trades"), topic("crypto", "trades", PREFIX))
    with EmbeddedBroker(names, 2) as broker:
        settings = kafka_settings(broker.bootstrap_servers, topic_prefix=PREFIX)
        with MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock()) as producer:
            producer.produce_batch(TRADE, "crypto", trades(1, 5))
        assert count_messages(settings, all_topics()) == {names[0]: 0}
        assert count_messages(settings, all_topics(PREFIX)) == {names[1]: 5}
        ends = log_ends(settings, all_topics(PREFIX))
        assert sum(ends.values()) == 5
        assert set(ends) == {(names[1], 0), (names[1], 1)}


@pytest.mark.parametrize("prefix", ["a b.", ".", "-a", "a/", "a\n", "é.", "a" * 201])
def test_what_kafka_would_refuse_is_refused_at_once(prefix: str) -> None:
    with pytest.raises(ValidationError, match="topic_prefix"):
        KafkaSettings(topic_prefix=prefix)
