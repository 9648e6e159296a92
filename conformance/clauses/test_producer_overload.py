"""A broker that refuses, hangs or goes away costs records only what the books say, and the feed only what it allowed.

Every record MUST end acknowledged or counted as an error by its reason, exhausted retries by a counter of their own
(PRO-3a). The circuit breaker MUST open while the broker is away and close when it is back, and records meanwhile MUST
be turned away at once (PRO-3b). A full queue MUST block up to its limit and then raise or shed by policy; what is shed
MUST be counted and MUST never lie in the log (PRO-3c).
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.log_tap import read_all
from conformance.drivers.outages import outage
from conformance.drivers.producing import ACKNOWLEDGED, Producing
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import BreakerSettings

PRODUCE_API_KEY = 0
MSG_SIZE_TOO_LARGE, NOT_ENOUGH_REPLICAS, CLOSED_CONNECTION = 10, 19, -195
GIVE_UP_MS = 2_000
SOME = 100
ROOM = 50
LIMIT_SECONDS = 0.5
# What a loaded machine may take on top; far less than the 30 s of the default.
PATIENCE_SECONDS = 8.0
RECOVERY_SECONDS = 30.0
FAILURES_TO_OPEN = 5
STATE, CLOSED, OPEN = "k2_circuit_breaker_state", 0.0, 2.0


@pytest.mark.clause(
    name="producer_overload/accounts",
    claims=("PRO-3a",),
    checker="facts",
    title="Over a broker that refuses, cuts off and hangs, each record is acknowledged or an error by its reason",
    minimum_samples=5 * SOME,
    remedy="see k2/ingestion/producer_account.py",
)
def test_every_record_ends_acknowledged_or_counted(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=71) as history:
        records = trades(71)
        producing = Producing(stack, delivery_timeout_ms=GIVE_UP_MS)
        with producing.producer as producer:
            connect(producing, records)
            producing.send(islice(records, SOME))
            refuse(stack, NOT_ENOUGH_REPLICAS, CLOSED_CONNECTION, NOT_ENOUGH_REPLICAS)
            producing.send_batch([*islice(records, SOME)])
            record_fact(history, "open after a flush", 0, producer.flush)
            before = dict(producing.outcomes())
            record_fact(history, "after what passes by itself", {ACKNOWLEDGED: 1 + 2 * SOME}, lambda: before)
            refuse(stack, MSG_SIZE_TOO_LARGE)
            producing.send(islice(records, 1))
            producer.flush()
            producing.send(unfit(records, SOME))
            producing.send_batch([*unfit(records, SOME // 2), *islice(records, SOME // 2)])
            producer.flush()
            with outage(stack, history, Outage.BROKER_HUNG):
                producing.send(islice(records, SOME))
                record_fact(history, "open after the broker hung", 0, producer.flush)
            producing.send(islice(records, SOME))
        counted = producer.statistics()
        expected = {"MSG_SIZE_TOO_LARGE": 1, "unfit": SOME + SOME // 2, "_MSG_TIMED_OUT": SOME}
        record_fact(history, "errors by reason", expected, lambda: dict(counted.errors_by_reason), samples=5 * SOME)
        record_fact(
            history, "exhausted retries", [SOME, SOME], lambda: [counted.retries_exhausted, exhausted(producing)]
        )
        record_fact(history, "acknowledged", 1 + 3 * SOME + SOME // 2, lambda: producing.outcomes()[ACKNOWLEDGED])
        judge_books(history, producing, stack)
    clause.judge()


@pytest.mark.clause(
    name="producer_overload/breaker",
    claims=("PRO-3b",),
    checker="facts",
    title="The breaker opens while the broker is away, turns records away at once, and closes when it is back",
    minimum_samples=SOME - 5,
    remedy="see ProducerGate.admits and k2/resilience/circuit_breaker.py",
)
@pytest.mark.parametrize("policy", ["raise", "shed"])
def test_the_breaker_opens_while_the_broker_is_away(stack: Stack, clause: ClauseRun, policy: str) -> None:
    with clause.history(seed=72) as history:
        records = trades(72)
        metrics = Metrics()
        chosen = BreakerSettings(failures_to_open=FAILURES_TO_OPEN, open_seconds=0.5, successes_to_close=2)
        breaker = CircuitBreaker("broker", chosen, metrics, SystemClock())
        producing = Producing(stack, breaker, delivery_timeout_ms=GIVE_UP_MS, overload_policy=policy)

        def state() -> float:
            return metrics.value(STATE, {"breaker": "broker"})

        def state_in_the_end() -> float:
            give_up_at = time.monotonic() + RECOVERY_SECONDS
            while state() != CLOSED and time.monotonic() < give_up_at:
                producing.send(islice(records, 1))
                producing.producer.flush()
            return state()

        with producing.producer:
            producing.send(islice(records, SOME))
            producing.producer.flush()
            record_fact(history, "state before", CLOSED, state)
            with outage(stack, history, Outage.BROKER_DOWN):
                producing.send(islice(records, FAILURES_TO_OPEN))
                producing.producer.flush()
                record_fact(history, "state while the broker is away", OPEN, state)
                started = time.monotonic()
                producing.send(islice(records, SOME))
                seconds = time.monotonic() - started
                # One probe may have been let through, if sending took longer than the breaker waits.
                enough = SOME - 5
                record_fact(
                    history, "records that were turned away", True, lambda: turned_away(producing) >= enough,
                    samples=enough,
                )  # fmt: skip
                record_fact(history, "they were not waited for", True, lambda: seconds < PATIENCE_SECONDS)
            record_fact(history, "state when it is back", CLOSED, state_in_the_end)
            acknowledged = producing.outcomes()[ACKNOWLEDGED]
            producing.send(islice(records, SOME))
            record_fact(history, "open after a flush", 0, producing.producer.flush)
            after = {ACKNOWLEDGED: acknowledged + SOME}
            record_fact(
                history, "acknowledged after", after, lambda: {ACKNOWLEDGED: producing.outcomes()[ACKNOWLEDGED]}
            )
        judge_books(history, producing, stack)
    clause.judge()


@pytest.mark.clause(
    name="producer_overload/full_queue",
    claims=("PRO-3c",),
    checker="facts",
    title="A full queue blocks up to its limit, then raises or sheds; what is shed is counted and not in the log",
    minimum_samples=3 * ROOM,
    remedy="see ProducerQueue.put and k2/ingestion/producer_gate.py",
)
@pytest.mark.parametrize("policy", ["raise", "shed"])
def test_a_full_queue_blocks_then_sheds_by_policy(stack: Stack, clause: ClauseRun, policy: str) -> None:
    with clause.history(seed=73) as history:
        records = trades(73)
        producing = Producing(
            stack,
            queue_max_messages=ROOM,
            queue_full_timeout_seconds=LIMIT_SECONDS,
            overload_policy=policy,
            flush_timeout_seconds=RECOVERY_SECONDS,
        )
        with producing.producer:
            connect(producing, records)
            with outage(stack, history, Outage.BROKER_HUNG):
                first = timed_sending(producing, islice(records, ROOM))
                blocked = timed_sending(producing, islice(records, 1))
                then = timed_sending(producing, islice(records, ROOM))
                producing.send_batch([*islice(records, ROOM)])
            record_fact(history, "with room it does not block", True, lambda: first < LIMIT_SECONDS)
            record_fact(
                history, "full it blocks for its limit", True, lambda: LIMIT_SECONDS <= blocked < PATIENCE_SECONDS
            )
            record_fact(history, "then it does not block again", True, lambda: then < PATIENCE_SECONDS)
            record_fact(history, "open once it goes on", 0, producing.producer.flush)
            counted = producing.producer.statistics()
            away = 1 + 2 * ROOM
            record_fact(history, "errors by reason", {"queue_full": away}, lambda: dict(counted.errors_by_reason))
            metric = {"data_type": "trades", "reason": "queue_full"}
            record_fact(
                history, "the metric", away, lambda: producing.metrics.value("k2_producer_errors_total", metric),
                samples=away,
            )  # fmt: skip
            record_fact(history, "exhausted retries", 0, lambda: exhausted(producing))
            # The queue has room again: batches larger than it wait for it and lose nothing.
            producing.send_batch([*islice(records, 3 * ROOM)])
            record_fact(history, "open in the end", 0, producing.producer.flush)
        acknowledged = 1 + ROOM + 3 * ROOM
        record_fact(
            history, "acknowledged", acknowledged, lambda: producing.outcomes()[ACKNOWLEDGED], samples=acknowledged
        )
        judge_books(history, producing, stack)
    clause.judge()


def judge_books(history: HistoryWriter, producing: Producing, stack: Stack) -> None:
    """What must be true of every record, whatever happened to the broker."""
    messages = read_all(stack.settings.kafka.bootstrap_servers, [stack.topic("crypto", TRADE.data_type)])
    record_fact(history, "records without one fate", [], producing.without_one_fate)
    record_fact(history, "records not at their place", [], producing.not_at_their_place, messages)
    record_fact(history, "turned away and in the log", [], producing.in_the_log_though_turned_away, messages)
    record_fact(history, "differences of the books", [], producing.differences_of_the_books)


def trades(seed: int) -> Iterator[FeedRecord]:
    """Trades of the synthetic exchange, no two alike."""
    return iter(SyntheticExchange(SyntheticSettings(seed=seed, trade_share=1.0, duplicate_rate=0.0)))


def unfit(records: Iterator[FeedRecord], count: int) -> Iterator[FeedRecord]:
    """Records whose price is no exact number."""
    for item in islice(records, count):
        yield replace(item, record={**item.record, "price": 1.5})


def connect(producing: Producing, records: Iterator[FeedRecord]) -> None:
    """Have a first record acknowledged, so that what comes next meets an open connection."""
    producing.send(islice(records, 1))
    producing.producer.flush(PATIENCE_SECONDS)


def refuse(stack: Stack, *codes: int) -> None:
    """Have the broker answer the next produce requests with these errors."""
    stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=list(codes))


def timed_sending(producing: Producing, items: Iterator[FeedRecord]) -> float:
    """Seconds it took to give records to the producer."""
    given = list(items)
    started = time.monotonic()
    producing.send(given)
    return time.monotonic() - started


def exhausted(producing: Producing) -> float:
    """The metric of exhausted retries."""
    return producing.retries_exhausted()


def turned_away(producing: Producing) -> int:
    """Records that the open breaker turned away, by either policy."""
    return producing.producer.statistics().errors_by_reason.get("circuit_open", 0)
