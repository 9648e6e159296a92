"""Dead letters over an embedded broker: the original kept whole, its origin, an acknowledgement for each."""

from dataclasses import replace

import pytest
from confluent_kafka import Message

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError
from k2.ingestion.dead_letters import DeadLetter, DeadLetterQueue
from k2.records.definition import dead_letter_topic
from tests.ingestion.market_records import CRYPTO_TRADES
from tests.ingestion.stage import CLOSED_PORT, kafka_settings, read_all

LETTER = DeadLetter(
    topic=CRYPTO_TRADES,
    partition=1,
    offset=77,
    key=b"BINANCE:BTCUSDT",
    value=b"\x00\xff\x00junk",
    headers=(("traceparent", b"00-abc"), ("traceparent", b"00-def"), ("empty", None)),
    stage="decode",
    error_class="truncated",
    message="price at byte 12 of the body: it ends beyond the end of the message",
)


class FixedClock(SystemClock):
    def wall_ns(self) -> int:
        return 1_763_000_000_000_000_000


def sent(broker: EmbeddedBroker, *letters: DeadLetter) -> list[Message]:
    queue = DeadLetterQueue(kafka_settings(broker.bootstrap_servers), FixedClock())
    queue.send(letters)
    queue.close()
    return read_all(broker.bootstrap_servers, dead_letter_topic(CRYPTO_TRADES))


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
    messages = sent(broker, *[replace(LETTER, offset=number) for number in range(500)])
    offsets = {dict(message.headers() or [])["k2.source.offset"] for message in messages}
    assert offsets == {str(number).encode() for number in range(500)}


def test_a_long_explanation_is_cut_and_one_with_a_lone_surrogate_still_goes_through(broker: EmbeddedBroker) -> None:
    (message,) = sent(broker, replace(LETTER, message="\ud800" + "x" * 2_000))
    assert dict(message.headers() or [])["k2.error.message"] == b"?" + b"x" * 499


def test_no_letters_need_no_broker() -> None:
    queue = DeadLetterQueue(kafka_settings(CLOSED_PORT), SystemClock())
    queue.send([])
    queue.close()


def test_letters_without_an_acknowledgement_are_a_delivery_error() -> None:
    queue = DeadLetterQueue(kafka_settings(CLOSED_PORT, delivery_timeout_ms=200), SystemClock())
    with pytest.raises(DeliveryError, match=r"^3 dead letters were not acknowledged: .*timed out"):
        queue.send([LETTER, LETTER, LETTER])
    queue.close()


def test_a_letter_too_large_for_the_client_is_a_delivery_error(broker: EmbeddedBroker) -> None:
    queue = DeadLetterQueue(kafka_settings(broker.bootstrap_servers), SystemClock())
    with pytest.raises(DeliveryError, match="refused by the client"):
        queue.send([replace(LETTER, value=bytes(2_000_000))])
    queue.close()
