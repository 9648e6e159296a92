"""What the tests of the producer share: producers over a broker that is there or not, and what lies in its log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.kafka import administrative_client, log_ranges
from k2.ingestion.producer import MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType, topic
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import ProducerSettings
from tests.ingestion.market_records import EVENT_TIME_NS, REGISTRY, quote, trade
from tests.ingestion.stage import PARTITIONS, kafka_settings

ALL_TOPICS = tuple(topic("crypto", kind.data_type) for kind in (TRADE, QUOTE, REFERENCE_DATA))
TRADES = {"data_type": "trades"}


def reference(session_sequence: int) -> dict[str, Any]:
    """What is known of BINANCE:BTCUSDT."""
    core = trade(session_sequence)
    for name in ("trade_id", "price", "quantity", "side", "conditions"):
        del core[name]
    known = {
        "name": "Bitcoin in Tether",
        "currency": "USDT",
        "listing_status": "ACTIVE",
        "valid_from_ns": EVENT_TIME_NS,
    }
    return {**core, **known}


RECORDS = {TRADE: trade, QUOTE: quote, REFERENCE_DATA: reference}


def producer_over(
    bootstrap_servers: str,
    metrics: Metrics | None = None,
    breaker: CircuitBreaker | None = None,
    delivery_timeout_ms: int = 5_000,
    **settings: Any,
) -> MarketDataProducer:
    """A producer with some of its settings changed."""
    return MarketDataProducer(
        kafka_settings(bootstrap_servers, delivery_timeout_ms=delivery_timeout_ms),
        REGISTRY,
        metrics or Metrics(),
        SystemClock(),
        ProducerSettings(**settings),
        breaker,
    )


def send(producer: MarketDataProducer, *records: Mapping[str, Any]) -> None:
    """Produce trades, one by one."""
    for record in records:
        producer.produce_trade(record["asset_class"], record["exchange"], record)


def symbols(count: int, records: int) -> list[dict[str, Any]]:
    """Trades of several symbols in turn."""
    return [trade(number, number, symbol=f"SYMBOL{number % count}") for number in range(1, records + 1)]


def produce_methods(producer: MarketDataProducer) -> Mapping[RecordType, Any]:
    """The method for each kind of record."""
    return {
        TRADE: producer.produce_trade,
        QUOTE: producer.produce_quote,
        REFERENCE_DATA: producer.produce_reference_data,
    }


def messages_in(broker: EmbeddedBroker, topics: Sequence[str] = ALL_TOPICS) -> int:
    """How many messages lie in some topics."""
    admin = administrative_client(kafka_settings(broker.bootstrap_servers))
    ranges = log_ranges(admin, [(name, partition) for name in topics for partition in range(PARTITIONS)])
    return sum(end - first for first, end in ranges.values())


def is_balanced(producers: Iterable[MarketDataProducer]) -> bool:
    """Whether each has accounted for every record it was given; after a flush, or closed."""
    all_statistics = [producer.statistics() for producer in producers]
    return all(
        one.queued == 0
        and one.records_given == one.records_sent + one.errors
        and one.errors == sum(one.errors_by_reason.values())
        for one in all_statistics
    )
