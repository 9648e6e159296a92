"""Dead letters over an embedded broker: the original kept whole, its origin, and a file where the broker fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError
from k2.ingestion.dead_letters import HEADER_OFFSET, DeadLetter, DeadLetterQueue
from k2.observability.metrics import Metrics
from k2.records.definition import dead_letter_topic
from tests.ingestion.dead_letter_samples import LETTER, FixedClock, kept, letter_files, letters
from tests.ingestion.market_records import CRYPTO_TRADES, trades
from tests.ingestion.stage import CLOSED_PORT, TOPICS, Stage, kafka_settings, read_all

PRODUCE_API = 0


def sent(broker: EmbeddedBroker, *some: DeadLetter) -> list[Message]:
    queue = DeadLetterQueue(kafka_settings(broker.bootstrap_servers), FixedClock())
    queue.send(some)
    queue.close()
    return in_topic(broker)


def in_topic(broker: EmbeddedBroker) -> list[Message]:
    return read_all(broker.bootstrap_servers, dead_letter_topic(CRYPTO_TRADES))


def offsets_in_topic(broker: EmbeddedBroker) -> set[str | bytes | None]:
    return {dict(message.headers() or [])[HEADER_OFFSET] for message in in_topic(broker)}


@contextmanager
def falling_back(
    bootstrap_servers: str, directory: Path, metrics: Metrics | None = None, timeout_ms: int = 300
) -> Iterator[DeadLetterQueue]:
    files = letter_files(directory)
    queue = DeadLetterQueue(kafka_settings(bootstrap_servers), SystemClock(), files, metrics, timeout_ms)
    yield queue
    queue.close()


def test_a_dead_letter_keeps_key_bytes_and_headers_and_says_where_it_came_from(broker: EmbeddedBroker) -> None:
    (message,) = sent(broker, LETTER)
    assert (message.key(), message.value()) == (LETTER.key, LETTER.value)
    assert message.headers() == [
        *LETTER.headers,
        ("k2.source.topic", CRYPTO_TRADES.encode()),
        ("k2.source.partition", b"1"),
        ("k2.source.offset", b"77"),
        ("k2.stage", b"decode"),
        ("k2.error.class", b"truncated"),
        ("k2.error.message", LETTER.message.encode()),
        ("k2.time", b"1763000000000000000"),
    ]


def test_a_tombstone_without_key_stays_one(broker: EmbeddedBroker) -> None:
    (message,) = sent(broker, replace(LETTER, key=None, value=None, headers=()))
    assert (message.key(), message.value()) == (None, None)


def test_all_letters_of_a_batch_are_in_the_log_when_send_returns(broker: EmbeddedBroker) -> None:
    sent(broker, *letters(*range(500)))
    assert offsets_in_topic(broker) == {str(number).encode() for number in range(500)}


def test_a_long_explanation_is_cut_and_one_with_a_lone_surrogate_still_goes_through(broker: EmbeddedBroker) -> None:
    (message,) = sent(broker, replace(LETTER, message="\ud800" + "x" * 2_000))
    assert dict(message.headers() or [])["k2.error.message"] == b"?" + b"x" * 499


def test_no_letters_need_no_broker() -> None:
    queue = DeadLetterQueue(kafka_settings(CLOSED_PORT), SystemClock())
    queue.send([])
    queue.close()


def test_letters_without_an_acknowledgement_and_without_files_are_a_delivery_error() -> None:
    queue = DeadLetterQueue(kafka_settings(CLOSED_PORT, delivery_timeout_ms=200), SystemClock())
    with pytest.raises(DeliveryError, match=r"^3 dead letters were not acknowledged: .*timed out"):
        queue.send([LETTER, LETTER, LETTER])
    queue.close()


def test_while_the_broker_is_down_letters_go_to_a_file_and_afterwards_to_their_topic_again(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    metrics = Metrics()
    with falling_back(broker.bootstrap_servers, tmp_path, metrics, timeout_ms=1_000) as queue:
        queue.send(letters(1))
        broker.go_down()
        queue.send(letters(2, 3))
        broker.come_up()
        give_up_at = time.monotonic() + 20
        while metrics.value("k2_dead_letters_total", {"data_type": "trades", "destination": "topic"}) < 2:
            assert time.monotonic() < give_up_at
            queue.send(letters(4))
    assert [letter.offset for letter in kept(tmp_path)][:2] == [2, 3]
    assert kept(tmp_path)[:2] == letters(2, 3)
    assert {b"1", b"4"} <= offsets_in_topic(broker)
    assert metrics.value("k2_dead_letters_total", {"data_type": "trades", "destination": "file"}) >= 2


def test_a_broker_that_is_gone_for_good_is_waited_for_no_longer_than_the_setting_says(tmp_path: Path) -> None:
    with EmbeddedBroker(TOPICS) as broker:
        address = broker.bootstrap_servers
    with falling_back(address, tmp_path, timeout_ms=200) as queue:
        started = time.monotonic()
        queue.send(letters(1, 2))
        assert time.monotonic() - started < 4
    assert kept(tmp_path) == letters(1, 2)


def test_only_the_letter_that_is_too_large_goes_to_a_file(broker: EmbeddedBroker, tmp_path: Path) -> None:
    large = replace(LETTER, offset=5, value=bytes(2_000_000))
    with falling_back(broker.bootstrap_servers, tmp_path, timeout_ms=5_000) as queue:
        queue.send([*letters(4), large, *letters(6)])
    assert kept(tmp_path) == [large]
    assert offsets_in_topic(broker) == {b"4", b"6"}


def test_a_letter_the_broker_refuses_goes_to_a_file(broker: EmbeddedBroker, tmp_path: Path) -> None:
    broker.fail_requests(PRODUCE_API, [KafkaError.MSG_SIZE_TOO_LARGE])
    with falling_back(broker.bootstrap_servers, tmp_path, timeout_ms=5_000) as queue:
        queue.send(letters(1))
        queue.send(letters(2))
    assert kept(tmp_path) == letters(1)
    assert offsets_in_topic(broker) == {b"2"}


def test_without_broker_and_without_room_it_is_a_delivery_error_that_names_both(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        falling_back(CLOSED_PORT, tmp_path / "file") as queue,
        pytest.raises(DeliveryError, match=r"1 dead letters were not acknowledged: .* cannot be written to"),
    ):
        queue.send([LETTER])


def test_a_message_too_large_to_be_a_dead_letter_does_not_stop_the_consumer(stage: Stage, tmp_path: Path) -> None:
    # It just fits the log; with the headers that say where it came from it does not.
    junk = b"\xff" * 999_850
    stage.produce(*trades(1, 2), junk, *trades(3, 4))
    with falling_back(stage.broker.bootstrap_servers, tmp_path / "letters", timeout_ms=5_000) as queue:
        stage.take_in(5, consumer=stage.consumer(dead_letters=queue))
    (letter,) = kept(tmp_path / "letters")
    assert (letter.source, letter.value) == (f"{CRYPTO_TRADES}/0/2", junk)
    assert stage.session_numbers() == [1, 2, 3, 4]
