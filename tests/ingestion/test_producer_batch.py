"""Batches: every record lies where the single path would have put it, in the same bytes and the same order."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.errors import RecordError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE
from tests.ingestion.market_records import CRYPTO_TRADES, columns, quote, trade, trades
from tests.ingestion.producing import (
    ALL_TOPICS,
    RECORDS,
    TRADES,
    is_balanced,
    messages_in,
    producer_over,
    send,
    symbols,
)
from tests.ingestion.stage import PARTITIONS, read_all

COUNT = 400


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        yield broker


@pytest.fixture
def producer(broker: EmbeddedBroker, metrics: Metrics) -> Iterator[MarketDataProducer]:
    with producer_over(broker.bootstrap_servers, metrics) as producer:
        yield producer
    assert is_balanced([producer])


def log_of(broker: EmbeddedBroker) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    """Keys and values by partition, in the order of the log."""
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for message in read_all(broker.bootstrap_servers, CRYPTO_TRADES):
        found.setdefault(message.partition() or 0, []).append((message.key(), message.value()))
    return found


@pytest.mark.parametrize("as_columns", [False, True], ids=["records", "columns"])
def test_a_batch_lies_in_the_log_as_single_records_would(
    producer: MarketDataProducer, broker: EmbeddedBroker, as_columns: bool
) -> None:
    batch = symbols(7, COUNT)
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as other, producer_over(other.bootstrap_servers) as single:
        send(single, *batch)
        assert single.flush() == 0
        expected = log_of(other)
    given: Sequence[dict[str, Any]] | pa.RecordBatch = columns(*batch) if as_columns else batch
    result = producer.produce_batch(TRADE, "crypto", given)
    assert producer.flush() == 0
    assert (result.queued, result.shed, result.refused) == (COUNT, 0, ())
    assert len(expected) == PARTITIONS
    assert log_of(broker) == expected


def test_batches_and_single_records_of_a_key_keep_their_order(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    batch = trades(1, 90)
    producer.produce_batch(TRADE, "crypto", batch[:30])
    send(producer, *batch[30:60])
    producer.produce_batch(TRADE, "crypto", batch[60:])
    assert producer.flush() == 0
    (of_the_key,) = log_of(broker).values()
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as other, producer_over(other.bootstrap_servers) as single:
        send(single, *batch)
        single.flush()
        assert list(log_of(other).values()) == [of_the_key]


def test_every_record_is_accounted_for(producer: MarketDataProducer, metrics: Metrics) -> None:
    producer.produce_batch(TRADE, "crypto", symbols(7, COUNT))
    before = producer.statistics()
    assert before.records_given == before.records_sent + before.queued == COUNT
    assert producer.flush() == 0
    assert producer.statistics().records_sent == COUNT
    assert metrics.value("k2_producer_records_sent_total", TRADES) == COUNT


def test_each_record_is_told_where_it_lies(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    fates: dict[int, Delivery] = {}
    batch = symbols(7, 50)
    producer.produce_batch(TRADE, "crypto", batch, lambda index, delivery: fates.update({index: delivery}))
    producer.flush()
    found = log_of(broker)
    assert sorted(fates) == list(range(50))
    for index, delivery in fates.items():
        assert delivery.error is None
        key, _ = found[delivery.partition or 0][delivery.offset or 0]
        assert key == f"BINANCE:{batch[index]['symbol']}".encode()


def test_a_record_that_does_not_fit_is_refused_and_the_others_are_sent(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    fates: dict[int, str | None] = {}
    batch = [trade(1), trade(2, price=1.5), trade(3), trade(4, asset_class="equities")]
    result = producer.produce_batch(
        TRADE, "crypto", batch, lambda index, delivery: fates.update({index: delivery.error})
    )
    producer.flush()
    assert (result.queued, [refusal.index for refusal in result.refused]) == (2, [1, 3])
    assert str(result.refused[0].error) == "Trade.price = 1.5: it must be Decimal, int or str, not float"
    assert fates == {0: None, 2: None}
    assert producer.statistics().errors_by_reason == {"unfit": 2}
    assert messages_in(broker) == 2


def test_a_record_larger_than_a_message_may_be_is_refused_and_the_others_keep_their_order(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    batch = [trade(1), trade(2, conditions="x" * 2_000_000), *trades(3, 5)]
    result = producer.produce_batch(TRADE, "crypto", batch)
    producer.flush()
    assert (result.queued, [refusal.index for refusal in result.refused]) == (4, [1])
    assert isinstance(result.refused[0].error, RecordError)
    assert producer.statistics().errors_by_reason == {"MSG_SIZE_TOO_LARGE": 1}
    assert messages_in(broker) == 4


def test_columns_of_another_record_type_are_refused_and_counted(producer: MarketDataProducer) -> None:
    with pytest.raises(RecordError, match="columns of Trade must be"):
        producer.produce_batch(TRADE, "crypto", columns(quote(1), record_type=QUOTE))
    assert producer.statistics().errors_by_reason == {"unfit": 1}


@pytest.mark.parametrize("kind", [QUOTE, REFERENCE_DATA], ids=lambda kind: kind.data_type)
def test_every_record_type_has_batches(producer: MarketDataProducer, kind: Any) -> None:
    result = producer.produce_batch(kind, "crypto", [RECORDS[kind](number) for number in range(1, 6)])
    assert producer.flush() == 0
    assert (result.queued, producer.statistics().records_sent) == (5, 5)


def test_an_empty_batch_does_nothing(producer: MarketDataProducer) -> None:
    assert producer.produce_batch(TRADE, "crypto", []).queued == 0
    assert producer.statistics().records_given == 0


def test_a_batch_larger_than_the_queue_waits_for_room_and_keeps_its_order(
    broker: EmbeddedBroker, metrics: Metrics
) -> None:
    with producer_over(broker.bootstrap_servers, metrics, queue_max_messages=20) as producer:
        assert producer.produce_batch(TRADE, "crypto", trades(1, COUNT)).queued == COUNT
        assert producer.flush() == 0
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as other, producer_over(other.bootstrap_servers) as single:
        send(single, *trades(1, COUNT))
        single.flush()
        assert log_of(other) == log_of(broker)
