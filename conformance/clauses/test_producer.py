"""What the producer acknowledges lies in the log under its key; it can be closed in any state, and leaves nothing.

Each record MUST be produced under the key exchange:symbol in a registered schema, and be told where it lies (PRO-1).
The producer MUST be a context manager; closing MUST be repeatable, keep its time limit, report what remains, survive
errors and release; after it producing MUST raise RuntimeError and the statistics MUST stay readable; several and nested
producers MUST not touch each other (PRO-2). A broker that hangs, with its connections open, is the worst case of each.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.log_tap import TappedMessage, read_all
from conformance.drivers.outages import outage
from conformance.drivers.producing import Producing
from conformance.stacks.base import Outage, Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE

SINGLE_RECORDS, BATCH_RECORDS, INSTRUMENTS = 500, 1_000, 50
LIMIT_SECONDS = 0.5
# What a loaded machine may take on top; far less than the 30 s of the default.
PATIENCE_SECONDS = 8.0
FEW = 20
PRODUCE_API_KEY = 0
OUT_OF_ORDER_SEQUENCE_NUMBER = 45


@pytest.mark.clause(
    name="producer/acknowledged_and_keyed",
    claims=("PRO-1a",),
    checker="facts",
    title="Every record, one by one or in batches, lies where its acknowledgement says, under its key and schema",
    minimum_samples=SINGLE_RECORDS + BATCH_RECORDS + INSTRUMENTS,
    remedy="see k2/ingestion/producer.py; for batches k2/records/encode_batch.py",
)
def test_what_is_acknowledged_lies_in_the_log_under_its_key(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=61) as history:
        producing = Producing(stack)
        records = synthetic(61)
        with producing.producer as producer:
            producing.send(islice(records, SINGLE_RECORDS))
            producing.send(reference_data(INSTRUMENTS))
            of_trades = (item for item in records if item.data_type == "trades")
            for _ in range(4):
                producing.send_batch(list(islice(of_trades, BATCH_RECORDS // 4)))
            record_fact(history, "open after a flush", 0, producer.flush)
        total = SINGLE_RECORDS + INSTRUMENTS + BATCH_RECORDS
        messages = read_all(stack.settings.kafka.bootstrap_servers, crypto_topics(stack))
        record_fact(history, "outcomes", {"acknowledged": total}, producing.outcomes, samples=total)
        record_fact(history, "not at their place", [], producing.not_at_their_place, messages)
        record_fact(history, "messages in the log", total, lambda: len(messages))
        record_fact(history, "partitions of a key, at most", 1, most_partitions, messages)
        record_fact(history, "differences of the books", [], producing.differences_of_the_books)
    clause.judge()


@pytest.mark.clause(
    name="producer/context_manager",
    claims=("PRO-2a",),
    checker="facts",
    title="Leaving the context flushes and closes, with and without an exception, also while the broker hangs",
    minimum_samples=10,
    remedy="see MarketDataProducer.__exit__ and close",
)
def test_leaving_the_context_flushes_and_closes(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=62) as history:
        records = synthetic(62)
        for breaks in (False, True):
            name = "with an exception" if breaks else "without one"
            producing = Producing(stack)
            raised = leave_context(producing, list(islice(records, FEW)), breaks)
            record_fact(history, f"{name}: what came out", "the feed broke" if breaks else "", lambda said=raised: said)
            record_fact(history, f"{name}: outcomes", {"acknowledged": FEW}, producing.outcomes, samples=FEW)
            record_fact(history, f"{name}: closed", True, is_closed, producing)
        messages = read_all(stack.settings.kafka.bootstrap_servers, crypto_topics(stack))
        record_fact(history, "messages in the log", 2 * FEW, lambda: len(messages))
        producing = Producing(stack, flush_timeout_seconds=LIMIT_SECONDS)
        connect(producing, records)
        with outage(stack, history, Outage.BROKER_HUNG):
            raised = leave_context(producing, list(islice(records, FEW)), breaks=True)
        record_fact(history, "hung: what came out", "the feed broke", lambda: raised)
        record_fact(history, "hung: closed", True, is_closed, producing)
        record_fact(history, "hung: without one fate", [], producing.without_one_fate, samples=FEW)
        record_fact(history, "hung: differences of the books", [], producing.differences_of_the_books)
    clause.judge()


@pytest.mark.clause(
    name="producer/close",
    claims=("PRO-2b",),
    checker="facts",
    title="Closing keeps its limit over a hung broker, reports what remains, survives a fatal error and releases",
    minimum_samples=10,
    remedy="see MarketDataProducer.close and ProducerQueue.release",
)
def test_closing_keeps_its_limit_reports_and_releases(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=63) as history:
        records = synthetic(63)
        threads_before = threads()
        producing = Producing(stack, flush_timeout_seconds=LIMIT_SECONDS)
        connect(producing, records)
        with outage(stack, history, Outage.BROKER_HUNG):
            producing.send(islice(records, FEW))
            seconds, remained = timed(producing.producer.close)
        record_fact(history, "what remained", FEW, lambda: remained)
        record_fact(history, "its limit was kept", True, lambda: LIMIT_SECONDS <= seconds < PATIENCE_SECONDS)
        record_fact(history, "closing again", [0, 0], lambda: [producing.producer.close(), producing.producer.close()])
        record_fact(history, "flush timeouts", 1, lambda: producing.producer.statistics().flush_timeouts)
        record_fact(history, "without one fate", [], producing.without_one_fate, samples=FEW)
        record_fact(history, "differences of the books", [], producing.differences_of_the_books)

        broken = Producing(stack)
        connect(broken, records)
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[OUT_OF_ORDER_SEQUENCE_NUMBER])
        broken.send(islice(records, FEW))
        record_fact(history, "after a fatal error: what remained", 0, broken.producer.close)
        record_fact(history, "after a fatal error: closed", True, is_closed, broken)
        record_fact(history, "after a fatal error: without one fate", [], broken.without_one_fate, samples=FEW)
        record_fact(history, "after a fatal error: books", [], broken.differences_of_the_books)
        record_fact(history, "threads left behind", 0, lambda: max(0, threads() - threads_before))
    clause.judge()


@pytest.mark.clause(
    name="producer/after_close",
    claims=("PRO-2c",),
    checker="facts",
    title="After close producing raises RuntimeError, flush returns 0, and the statistics stay as they were",
    minimum_samples=8,
    remedy="see MarketDataProducer.produce, flush and statistics",
)
def test_after_close_nothing_is_taken_and_everything_can_be_read(
    stack: Stack, clause: ClauseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with clause.history(seed=64) as history:
        records = synthetic(64)
        producing = Producing(stack)
        producer = producing.producer
        producing.send(islice(records, FEW))
        record_fact(history, "remained at close", 0, producer.close)
        statistics = producer.statistics()
        record_fact(
            history, "counts", [FEW, 0, 0], lambda: [statistics.records_sent, statistics.errors, statistics.queued]
        )
        lifetime = ((statistics.closed_at or 0) - statistics.created_at) / 1e9
        record_fact(history, "lifetime", lifetime, lambda: statistics.lifetime)
        item = next(records)
        calls: dict[str, Callable[[], object]] = {
            "produce_trade": lambda: producer.produce_trade("crypto", "BINANCE", item.record),
            "produce_quote": lambda: producer.produce_quote("crypto", "BINANCE", item.record),
            "produce_reference_data": lambda: producer.produce_reference_data("crypto", "BINANCE", item.record),
            "produce_batch": lambda: producer.produce_batch(TRADE, "crypto", [item.record]),
        }
        for name, call in calls.items():
            record_fact(history, f"{name} after close", "RuntimeError", error_of, call)
        capsys.readouterr()
        record_fact(history, "flush after close", 0, producer.flush)
        record_fact(history, "flush after close warns", True, lambda: "flush after close" in capsys.readouterr().out)
        record_fact(history, "statistics after all that", True, lambda: producer.statistics() == statistics)
        messages = read_all(stack.settings.kafka.bootstrap_servers, crypto_topics(stack))
        record_fact(history, "messages in the log", FEW, lambda: len(messages))
    clause.judge()


@pytest.mark.clause(
    name="producer/several",
    claims=("PRO-2d",),
    checker="facts",
    title="Several and nested producers deliver, count and close each for itself",
    minimum_samples=4 * FEW,
    remedy="see MarketDataProducer: it shares nothing with another",
)
def test_several_producers_do_not_touch_each_other(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=65) as history:
        records = synthetic(65)
        outer, inner, other = Producing(stack), Producing(stack), Producing(stack)
        with outer.producer:
            outer.send(islice(records, FEW))
            with inner.producer:
                inner.send(islice(records, FEW))
                other.send(islice(records, FEW))
            record_fact(
                history, "inner is closed, outer is not", [True, False], lambda: [*map(is_closed, (inner, outer))]
            )
            outer.send(islice(records, FEW))
        record_fact(history, "outer is closed, other is not", [True, False], lambda: [*map(is_closed, (outer, other))])
        other.send(islice(records, FEW))
        other.producer.close()
        messages = read_all(stack.settings.kafka.bootstrap_servers, crypto_topics(stack))
        for name, producing, count in (("outer", outer, 2), ("inner", inner, 1), ("other", other, 2)):
            expected = {"acknowledged": count * FEW}
            record_fact(history, f"{name}: outcomes", expected, producing.outcomes, samples=count * FEW)
            record_fact(history, f"{name}: not at their place", [], producing.not_at_their_place, messages)
            record_fact(history, f"{name}: differences of the books", [], producing.differences_of_the_books)
    clause.judge()


def synthetic(seed: int) -> Iterator[FeedRecord]:
    """Trades and quotes of the synthetic exchange, no two alike."""
    return iter(SyntheticExchange(SyntheticSettings(seed=seed, duplicate_rate=0.0)))


def reference_data(count: int) -> Iterator[FeedRecord]:
    """What is known of some instruments."""
    for number in range(1, count + 1):
        record = {
            "session": "reference-1",
            "session_sequence": number,
            "exchange": "BINANCE",
            "symbol": f"COIN{number}USDT",
            "asset_class": "crypto",
            "event_time_ns": number,
            "receive_time_ns": number,
            "name": f"Coin {number}",
            "currency": "USDT",
            "listing_status": "ACTIVE",
            "valid_from_ns": 0,
        }
        yield FeedRecord("reference_data", "crypto", "BINANCE", record)


def connect(producing: Producing, records: Iterator[FeedRecord]) -> None:
    """Have a first record acknowledged, so that what comes next meets an open connection."""
    producing.send(islice(records, 1))
    producing.producer.flush(PATIENCE_SECONDS)


def leave_context(producing: Producing, items: list[FeedRecord], breaks: bool) -> str:
    """Send records and leave the context, by an exception or not; returns what came out of it."""
    try:
        with producing.producer:
            producing.send(items)
            if breaks:
                raise ValueError("the feed broke")
    except ValueError as error:
        return str(error)
    return ""


def is_closed(producing: Producing) -> bool:
    """Whether it says that it is closed, and takes no more."""
    says_so = producing.producer.statistics().closed_at is not None
    return says_so and error_of(lambda: producing.producer.produce_batch(TRADE, "crypto", [])) == "RuntimeError"


def error_of(call: Callable[[], object]) -> str:
    """The name of what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - that is what is asked
        return type(error).__name__
    return ""


def timed(call: Callable[[], int]) -> tuple[float, int]:
    """How long a call took, and its result."""
    started = time.monotonic()
    result = call()
    return time.monotonic() - started, result


def most_partitions(messages: Iterable[TappedMessage]) -> int:
    """Over how many partitions the messages of one key and topic are spread, at most."""
    places: dict[tuple[str, bytes | None], set[int]] = {}
    for message in messages:
        places.setdefault((message.topic, message.key), set()).add(message.partition)
    return max(map(len, places.values()))


def threads() -> int:
    """Threads of this process, those of the Kafka client too."""
    return len(list(Path(f"/proc/{os.getpid()}/task").iterdir()))


def crypto_topics(stack: Stack) -> list[str]:
    """The topics of crypto records."""
    return [stack.topic("crypto", kind.data_type) for kind in (TRADE, QUOTE, REFERENCE_DATA)]
