"""Reading dead letter topics to their end: letters, markers, and what is neither."""

import pytest
from confluent_kafka import Producer

from k2.embedded.broker import EmbeddedBroker
from k2.errors import UnavailableError
from k2.ingestion.dead_letter_inventory import ReplayMarker
from k2.ingestion.dead_letter_log import TopicFinds, marker_headers, partition_counts, read_dead_letter_topics
from k2.ingestion.dead_letters import topic_headers
from k2.records.definition import dead_letter_topic
from tests.ingestion.dead_letter_samples import LETTER, NOW_NS, letters, send
from tests.ingestion.market_records import CRYPTO_TRADES
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, QUIET, kafka_settings

LETTERS_TOPIC = dead_letter_topic(CRYPTO_TRADES)
KEY = (CRYPTO_TRADES, 1, 77, LETTER.digest)


def found(broker: EmbeddedBroker, *topics: str) -> TopicFinds:
    return read_dead_letter_topics(kafka_settings(broker.bootstrap_servers), topics or (CRYPTO_TRADES,))


def produce(broker: EmbeddedBroker, value: bytes | None, headers: list[tuple[str, str | bytes | None]]) -> None:
    client = Producer({"bootstrap.servers": broker.bootstrap_servers, **QUIET})
    client.produce(LETTERS_TOPIC, value=value, partition=0, headers=headers)
    assert client.flush(20) == 0


def test_letters_are_found_as_they_were_sent_with_their_place(broker: EmbeddedBroker) -> None:
    send(broker.bootstrap_servers, LETTER)
    (kept,) = found(broker).letters
    assert (kept.letter, kept.written_at_ns) == (LETTER, NOW_NS)
    (place,) = kept.kept_in
    assert place in {f"topic {LETTERS_TOPIC}/{partition}/0" for partition in range(PARTITIONS)}


def test_every_partition_is_read_to_its_end(broker: EmbeddedBroker) -> None:
    some = [letter for key in b"abcdefgh" for letter in letters(*range(100), key=bytes([key]), partition=key)]
    send(broker.bootstrap_servers, *some)
    finds = found(broker)
    assert sorted((kept.letter.partition, kept.letter.offset) for kept in finds.letters) == sorted(
        (letter.partition, letter.offset) for letter in some
    )
    assert len({kept.kept_in[0].split("/")[1] for kept in finds.letters}) == PARTITIONS


def test_progress_ends_at_the_whole(broker: EmbeddedBroker) -> None:
    send(broker.bootstrap_servers, *letters(*range(50)))
    seen: list[tuple[int, int]] = []
    read_dead_letter_topics(
        kafka_settings(broker.bootstrap_servers), [CRYPTO_TRADES], lambda *counts: seen.append(counts)
    )
    assert seen[-1] == (50, 50)


def test_what_retention_took_is_not_waited_for(broker: EmbeddedBroker) -> None:
    send(broker.bootstrap_servers, *letters(1, 2, 3))
    (partition,) = {int(kept.kept_in[0].split("/")[1]) for kept in found(broker).letters}
    broker.delete_records(LETTERS_TOPIC, partition, 2)
    assert [kept.letter.offset for kept in found(broker).letters] == [3]


def test_an_empty_topic_and_one_that_does_not_exist_hold_nothing(broker: EmbeddedBroker) -> None:
    assert found(broker, CRYPTO_TRADES, "market.equities.trades") == TopicFinds()
    assert "market.equities.trades.dlq" not in partition_counts(kafka_settings(broker.bootstrap_servers))


def test_a_marker_is_found_as_one(broker: EmbeddedBroker) -> None:
    produce(broker, None, marker_headers(KEY, 123))
    finds = found(broker)
    assert (finds.letters, finds.markers, finds.unreadable) == ([], [ReplayMarker(KEY, 123)], [])


def test_a_letter_whose_source_carries_a_markers_headers_stays_a_letter(broker: EmbeddedBroker) -> None:
    (letter,) = letters(5, headers=tuple((name, b"forged") for name, _ in marker_headers(KEY, 123)))
    send(broker.bootstrap_servers, letter)
    finds = found(broker)
    assert [kept.letter for kept in finds.letters] == [letter]
    assert finds.markers == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        topic_headers(LETTER, NOW_NS)[:-1],
        [*topic_headers(LETTER, NOW_NS), ("later", b"")],
        [(name, b"many" if name == "k2.source.offset" else value) for name, value in topic_headers(LETTER, NOW_NS)],
        marker_headers(KEY, 123)[:-1],
        [(name, b"many" if name == "k2.replayed" else value) for name, value in marker_headers(KEY, 123)],
    ],
)
def test_what_is_neither_is_told_with_its_place(
    broker: EmbeddedBroker, headers: list[tuple[str, str | bytes | None]]
) -> None:
    produce(broker, b"x", headers)
    finds = found(broker)
    assert (finds.letters, finds.markers) == ([], [])
    assert finds.unreadable == [f"topic {LETTERS_TOPIC}/0/0: neither dead letter nor marker"]


def test_without_a_broker_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2.ingestion.dead_letter_log.ANSWER_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match=f"no answer from {CLOSED_PORT}"):
        read_dead_letter_topics(kafka_settings(CLOSED_PORT), [CRYPTO_TRADES])
