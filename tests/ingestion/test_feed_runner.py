"""A feed into the log: every record accounted for, and the log never further ahead of the tables than allowed."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError
from k2.feeds.feed import FeedRecord
from k2.ingestion import feed_runner
from k2.ingestion.feed_runner import Credits, FeedResult, run_feed
from k2.ingestion.log_reader import Place
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import topic
from tests.ingestion.market_records import CRYPTO_TRADES, REGISTRY, decoded, quote, trade, trades
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, Stage, kafka_settings, read_all

WINDOW = 10


@pytest.fixture
def producer(broker: EmbeddedBroker) -> Iterator[MarketDataProducer]:
    settings = kafka_settings(broker.bootstrap_servers)
    with MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock()) as producer:
        yield producer


def feed(*records: dict[str, Any]) -> list[FeedRecord]:
    return [FeedRecord("trades", record["asset_class"], record["exchange"], record) for record in records]


def test_every_record_is_sent_and_acknowledged_before_it_returns(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    assert run_feed(feed(*trades(1, 50)), producer) == FeedResult(sent=50, acknowledged=50, failed=0, refused=0)
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 50


def test_a_record_that_does_not_fit_is_refused_and_the_rest_goes_on(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    result = run_feed(feed(trade(1), trade(2, price=1.5), trade(3)), producer)
    assert result == FeedResult(sent=2, acknowledged=2, failed=0, refused=1)
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 2


def test_records_the_broker_never_acknowledged_are_failures() -> None:
    settings = kafka_settings(CLOSED_PORT, delivery_timeout_ms=200)
    with MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock()) as producer:
        result = run_feed(feed(*trades(1, 4)), producer, Credits(WINDOW, dict))
    assert result == FeedResult(sent=4, acknowledged=0, failed=4, refused=0)


def test_each_records_fate_is_told_with_the_record(producer: MarketDataProducer) -> None:
    fates: list[tuple[int, int | None]] = []

    def on_fed(item: FeedRecord, delivery: Delivery) -> None:
        fates.append((item.record["session_sequence"], delivery.offset))

    run_feed(feed(*trades(1, 20)), producer, on_fed=on_fed)
    assert fates == [(number, number - 1) for number in range(1, 21)]


def test_it_stops_when_it_is_told_to(producer: MarketDataProducer) -> None:
    asked = iter([False, False, False, True])
    assert run_feed(feed(*trades(1, 20)), producer, stopping=lambda: next(asked)).acknowledged == 3


def test_the_log_is_never_further_ahead_of_the_tables_than_the_window(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    committed: dict[Place, int] = {}
    ahead: list[int] = []

    def committed_offsets() -> Mapping[Place, int]:
        messages = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
        ends = {(CRYPTO_TRADES, message.partition() or 0): (message.offset() or 0) + 1 for message in messages}
        ahead.extend(end - committed.get(place, 0) for place, end in ends.items())
        committed.update(
            {place: committed.get(place, 0) + 2 for place in ends if committed.get(place, 0) < ends[place]}
        )
        return dict(committed)

    result = run_feed(feed(*trades(1, 40)), producer, Credits(WINDOW, committed_offsets))
    assert result.acknowledged == 40
    assert max(ahead) == WINDOW


def test_a_consumer_gives_the_credits_back(producer: MarketDataProducer, stage: Stage) -> None:
    def committed_offsets() -> Mapping[Place, int]:
        return {(key.topic, key.partition): place.next_offset for key, place in stage.progress().partitions.items()}

    with stage.running(stage.consumer()) as run:
        result = run_feed(feed(*trades(1, 35)), producer, Credits(WINDOW, committed_offsets))
        run.wait_until(lambda: sum(stage.next_offsets().values()) == 35)
    assert result == FeedResult(sent=35, acknowledged=35, failed=0, refused=0)
    assert stage.session_numbers() == list(range(1, 36))


def test_it_gives_up_when_the_tables_take_in_nothing(
    producer: MarketDataProducer, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_runner, "NO_PROGRESS_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DeliveryError, match=r"the tables took in nothing .*: check that a consumer runs"):
        run_feed(feed(*trades(1, 40)), producer, Credits(WINDOW, dict))
    assert producer.flush() == 0
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == WINDOW


def test_batches_send_what_single_records_would(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    result = run_feed(feed(*trades(1, 350)), producer, batch_records=150)
    assert result == FeedResult(sent=350, acknowledged=350, failed=0, refused=0)
    messages = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
    numbers = decoded([message.value() for message in messages]).columns.column("session_sequence").to_pylist()
    assert numbers == list(range(1, 351))


def test_a_batch_of_several_topics_keeps_the_order_of_each(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    broker.create_topic(topic("crypto", "quotes"), PARTITIONS)
    mixed: list[FeedRecord] = []
    for number in range(1, 101):
        mixed += [*feed(trade(number)), FeedRecord("quotes", "crypto", "BINANCE", quote(number))]
    fates: dict[str, list[int]] = {"trades": [], "quotes": []}

    def on_fed(item: FeedRecord, delivery: Delivery) -> None:
        assert delivery.topic == topic("crypto", item.data_type)
        fates[item.data_type].append(item.record["session_sequence"])

    result = run_feed(mixed, producer, on_fed=on_fed, batch_records=200)
    assert result == FeedResult(sent=200, acknowledged=200, failed=0, refused=0)
    assert fates == {"trades": list(range(1, 101)), "quotes": list(range(1, 101))}


def test_a_batch_refuses_what_does_not_fit_and_a_topic_that_cannot_be(producer: MarketDataProducer) -> None:
    bonds = [FeedRecord("trades", "bonds", "BINANCE", trade(number, asset_class="bonds")) for number in (5, 6)]
    items = [*feed(trade(1), trade(2, price=1.5), *trades(3, 150)), *bonds]
    result = run_feed(items, producer, Credits(1_000, dict), batch_records=500)
    assert result == FeedResult(sent=149, acknowledged=149, failed=0, refused=3)


def test_a_batch_is_never_larger_than_the_window_allows(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    window = 250
    committed: dict[Place, int] = {}
    ahead: list[int] = []

    def committed_offsets() -> Mapping[Place, int]:
        messages = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
        ends = {(CRYPTO_TRADES, message.partition() or 0): (message.offset() or 0) + 1 for message in messages}
        ahead.extend(end - committed.get(place, 0) for place, end in ends.items())
        committed.update({place: min(committed.get(place, 0) + 100, ends[place]) for place in ends})
        return dict(committed)

    result = run_feed(feed(*trades(1, 700)), producer, Credits(window, committed_offsets), batch_records=1_000)
    assert result.acknowledged == 700
    assert window // 2 < max(ahead) <= window


def test_what_a_feed_gave_before_it_broke_is_sent(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    def breaking() -> Iterator[FeedRecord]:
        yield from feed(*trades(1, 205))
        raise ValueError("the feed broke")

    with pytest.raises(ValueError, match="the feed broke"):
        run_feed(breaking(), producer, batch_records=200)
    producer.flush()
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 205


def test_records_without_a_place_in_the_log_cost_no_credit() -> None:
    credits = Credits(1, dict)
    credits.sent()
    credits.delivered(Delivery(CRYPTO_TRADES, None, None, "timed out"))
    credits.wait(lambda: pytest.fail("there was nothing to wait for"))
