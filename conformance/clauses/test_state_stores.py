"""State stores keep one contract, and whatever becomes of Redis changes no verdict.

Every state store MUST keep the contract of its port: values whole, keys apart, times to live kept (RES-4). Redis caches
state checkpoints and is never their truth: a Redis that is dead, frozen, emptied, or holds other bytes than were put
MUST change no verdict and stop nothing (SEQ-6).
"""

import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.checkpoints import observe_checkpoints
from conformance.drivers.consumer_metrics import WatchedConsumer
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.log_tap import LogTap
from conformance.drivers.observing import observe_log, observe_tables
from conformance.drivers.redis_faults import redis_server
from conformance.drivers.silence import METRICS
from conformance.drivers.state_contract import observe_contract
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Stack
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE
from k2.state.memory import MemoryStore
from k2.state.sqlite import SqliteStore
from k2.state.store import StateStore

MEGABYTES_16 = 16 * 1024**2
SEED = 71
RECORDS = 600
LIMITS = {"max_keys": 3, "max_open_ranges": 4, "reset_lowest_distance": 300}
ENVIRONMENT = {**METRICS, **{f"K2_SEQUENCE__{name.upper()}": str(value) for name, value in LIMITS.items()}}
READS = "k2_state_cache_reads_total"


@pytest.mark.clause(
    name="state_stores/local",
    claims=("RES-4a",),
    checker="facts",
    title="The stores in memory and in a file keep the contract of state stores",
    minimum_samples=18,
    remedy="see k2/state/store.py for the contract; the fact names the store",
)
def test_memory_and_sqlite_keep_the_contract(clause: ClauseRun, tmp_path: Path) -> None:
    clock = SystemClock()
    memory = MemoryStore(MEGABYTES_16, clock)
    files: list[StateStore] = [SqliteStore(tmp_path / "state.db", MEGABYTES_16, clock) for _ in range(2)]
    with clause.history() as history:
        observe_contract(history, memory, memory, "clause")
        observe_contract(history, files[0], files[1], "clause")
    for store in (memory, *files):
        store.close()
    clause.judge()


@pytest.mark.clause(
    name="state_stores/redis",
    claims=("RES-4b",),
    checker="facts",
    title="The store on a Redis server keeps the same contract",
    minimum_samples=9,
    remedy="see k2/state/store.py for the contract and k2/state/redis_server.py",
)
def test_redis_keeps_the_contract(stack: Stack, clause: ClauseRun) -> None:
    server = redis_server(stack)
    store, other = server.open_store(), server.open_store()
    with clause.history() as history:
        observe_contract(history, store, other, uuid.uuid4().hex)
    store.close()
    other.close()
    clause.judge()


@pytest.mark.clause(
    name="state_stores/redis_is_no_truth",
    claims=("SEQ-6d",),
    checker="checkpoint",
    title="Redis emptied, lying, frozen and dead: state stays what the log makes of it, and the consumer goes on",
    minimum_samples=20,
    remedy="see k2/state/checkpoint_cache.py; the facts of state_stores/redis_is_no_truth_bit say what each fault did",
)
def test_whatever_becomes_of_redis_changes_no_verdict(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    bit = clause.part(
        "state_stores/redis_is_no_truth_bit",
        ("SEQ-6d",),
        "facts",
        "Each fault of Redis bit, and none stopped anything",
        5,
    )
    stack = new_stack(tmp_path, partitions=1, batch_rows=200)
    must_occur = ["gaps", "out_of_order", "duplicates", "session_resets", "lost_in_evicted_ranges"]
    with stack, clause.history(seed=SEED, sequence=LIMITS, must_occur=must_occur) as history, bit.history() as facts:
        server = redis_server(stack)
        parts = iter(phases())
        fed: list[Fed] = []

        def take_in(name: str, outcome: str | None) -> None:
            """One phase: a consumer starts, takes more in, and stops; what its first look into Redis gave is a fact."""
            consumer = WatchedConsumer(stack.start_consumer(TRADE.data_type, environment=ENVIRONMENT))
            fed.append(feed_records(stack, next(parts)))
            ends = fed[-1].acknowledged_ends()
            wait_until_drained(stack, history, ends, lambda: consumer.process.returncode() is None)
            if outcome is not None:
                labels = {"store": "redis", "outcome": outcome}
                record_fact(facts, f"{name}: {outcome}", True, lambda: consumer.counted(READS, labels, 1) >= 1)
            consumer.process.stop()

        take_in("new", None)
        take_in("well", "hit")
        server.empty()
        take_in("emptied", "miss")
        server.alter_everything()
        take_in("lying", "altered")
        with stack.servers().paused("redis"):
            take_in("frozen", "failed")
        with stack.servers().killed("redis"):
            take_in("dead", "failed")
        observe(history, stack, fed)
    try:
        bit.judge()
    finally:
        clause.judge()


def phases() -> Iterator[Iterator[FeedRecord]]:
    """Six stretches of sessions that gap, repeat, come late and start anew; one is fed again."""
    for seed in (SEED, SEED + 1, SEED, SEED + 2, SEED + 3, SEED + 4):
        yield iter(
            SyntheticExchange(
                SyntheticSettings(
                    seed=seed,
                    symbols=("BTCUSDT",),
                    records=RECORDS,
                    trade_share=1.0,
                    gap_rate=0.03,
                    duplicate_rate=0.02,
                    reorder_rate=0.02,
                )
            )
        )


def observe(history: HistoryWriter, stack: Stack, fed: list[Fed]) -> None:
    """Log, table and checkpoints as they are now."""
    sent = list(chain.from_iterable(one.items for one in fed))
    with LogTap(stack.settings.kafka.bootstrap_servers, [stack.topic("crypto", "trades")]) as tap:
        observe_log(history, stack, tap.wait_for(len(sent), timeout_seconds=30))
    observe_tables(history, stack, [TRADE.data_type])
    observe_checkpoints(history, stack, TRADE.data_type)
