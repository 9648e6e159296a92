"""A record with an id and no number is in the table once, and never missing, whatever the filter and the stores do.

A hit of the Bloom filter MUST be confirmed exactly, so that a false positive never drops a record (DUP-1). What is
known MUST follow the table's offset: recognised after a restart, and forgotten with a batch that was never committed or
was rolled back (DUP-2). Where state is kept in between, on Redis, in a file or nowhere, MUST make no difference
(DUP-1). The window MUST bound memory (DUP-2). Duplicates MUST be counted in k2_duplicates_detected_total (DUP-2).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.consumer_metrics import WatchedConsumer
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.identified_quotes import IdentifiedQuotes, stored_ids
from conformance.drivers.known_ids import KEPT_BYTES_PER_ID, WRITTEN_BYTES_PER_ID, run_through_windows
from conformance.drivers.redis_faults import redis_server
from conformance.drivers.silence import METRICS
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.feed import FeedRecord
from k2.records.definition import QUOTE

KIND = {"data_type": QUOTE.data_type}
COUNT, NEW = 900, 100
BATCH_ROWS = 200
ALWAYS_HIT = {"K2_DEDUPLICATION__FILTER_ERROR_RATE": "0.999", "K2_DEDUPLICATION__WINDOW_IDS": "4096"}
DUPLICATES, LOOKED_UP = "k2_duplicates_detected_total", "k2_identifiers_looked_up_total"
EXIT_TIMEOUT_SECONDS = 60
REMEDY = "see k2/ingestion/identifier_window.py and docs/decisions/0019-deduplication-and-state-stores.md"


@contextmanager
def taking_in(
    stack: Stack, history: HistoryWriter, records: Iterator[FeedRecord], environment: Mapping[str, str] | None = None
) -> Iterator[WatchedConsumer]:
    """A consumer that has taken in what was fed; stopped at the end."""
    consumer = WatchedConsumer(stack.start_consumer(QUOTE.data_type, environment={**METRICS, **(environment or {})}))
    fed = feed_records(stack, records)
    wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.process.returncode() is None)
    yield consumer
    consumer.process.stop()


@pytest.mark.clause(
    name="deduplication/false_positives",
    claims=("DUP-1a",),
    checker="facts",
    title="With a filter that takes every id for a known one, no new quote is dropped and every repeat is found",
    minimum_samples=4,
    remedy=REMEDY,
)
def test_false_positives_drop_nothing(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    quotes = IdentifiedQuotes(COUNT)
    with new_stack(tmp_path, partitions=1, batch_rows=BATCH_ROWS) as stack, clause.history() as history:
        with taking_in(stack, history, quotes.delivered("first"), ALWAYS_HIT) as consumer:
            record_fact(history, "rows of the first delivery", quotes.ids(), stored_ids, stack, samples=COUNT)
            in_vain = consumer.counted(LOOKED_UP, {**KIND, "outcome": "new"}, COUNT)
            record_fact(history, "nearly all new ids were looked up in vain", True, lambda: in_vain > 0.9 * COUNT)
            found = consumer.counted(DUPLICATES, KIND, 0)
            record_fact(history, "duplicates of the first delivery", 0, lambda: found)
        with taking_in(stack, history, quotes.delivered("second"), ALWAYS_HIT) as consumer:
            record_fact(history, "rows after the second delivery", quotes.ids(), stored_ids, stack, samples=COUNT)
            repeats = consumer.counted(DUPLICATES, KIND, COUNT)
            record_fact(history, "duplicates of the second delivery", COUNT, lambda: repeats)
    clause.judge()


@pytest.mark.clause(
    name="deduplication/follows_the_table",
    claims=("DUP-2b",),
    checker="facts",
    title="Known ids survive a restart, and go with a batch that was never committed or was rolled back",
    minimum_samples=6,
    remedy=REMEDY,
)
def test_known_ids_follow_the_table(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    quotes = IdentifiedQuotes(COUNT)
    with new_stack(tmp_path, partitions=1, batch_rows=BATCH_ROWS) as stack, clause.history() as history:
        feed_records(stack, quotes.delivered("first", last=-NEW))
        # Its second batch knows its ids, and is nowhere but in files that nobody refers to.
        plan = SignalPlan("WRITE", 2, tmp_path / "steps.jsonl")
        status = stack.start_consumer(QUOTE.data_type, plan).wait(EXIT_TIMEOUT_SECONDS)
        record_fact(history, "the consumer was killed before a commit", -9, lambda: status)
        with taking_in(stack, history, quotes.delivered("first", 0, 1)) as consumer:
            record_fact(history, "rows after the replay", quotes.ids(last=-NEW), stored_ids, stack, samples=COUNT - NEW)
        with taking_in(stack, history, quotes.delivered("second")) as consumer:
            record_fact(history, "rows after a second delivery", quotes.ids(), stored_ids, stack, samples=COUNT)
            repeats = consumer.counted(DUPLICATES, KIND, COUNT - NEW)
            record_fact(history, "duplicates counted after a restart", COUNT - NEW, lambda: repeats)
        answer = k2(stack, "rollback", "--data-type", QUOTE.data_type, "--json")
        undone = json.loads(answer.stdout or "{}").get("rows_removed", 0)
        record_fact(history, "a rollback took rows back", True, lambda: undone > 0)
        with taking_in(stack, history, quotes.delivered("third")):
            record_fact(history, "rows after the rollback", quotes.ids(), stored_ids, stack, samples=COUNT)
    clause.judge()


@pytest.mark.clause(
    name="deduplication/bounded_memory",
    claims=("DUP-2a",),
    checker="facts",
    title="Over thirty windows of ids, memory and checkpoint stay within what is stated, and the last window is known",
    minimum_samples=4,
    remedy=REMEDY,
)
def test_the_window_bounds_memory(clause: ClauseRun) -> None:
    with clause.history() as history:
        seen = run_through_windows(windows=30)
        limits = {
            "ids known at once": (seen.most_ids, seen.window_ids * 5 // 4),
            "bytes kept": (seen.most_bytes, KEPT_BYTES_PER_ID * seen.window_ids),
            "bytes of a checkpoint": (seen.most_checkpoint_bytes, WRITTEN_BYTES_PER_ID * seen.window_ids),
        }
        for name, (most, limit) in limits.items():
            record_fact(
                history,
                f"{name}, beyond the limit of {limit:,}",
                0,
                lambda most=most, limit=limit: max(0, most - limit),
            )
            clause.note(f"{name}: {most:,}, limit {limit:,}")
        record_fact(history, "of the last window's ids, unknown", 0, lambda: seen.unknown_of_the_last_window)
    clause.judge()


@pytest.mark.clause(
    name="deduplication/stores_agree",
    claims=("DUP-1b",),
    checker="facts",
    title="Known ids from Redis, from its fallback when Redis goes away, from a file alone: the same rows and counts",
    minimum_samples=10,
    remedy=REMEDY,
)
@pytest.mark.parametrize(
    ("kind", "first_from", "second_from"),
    [
        pytest.param("redis", ["redis"], ["sqlite"], id="redis_that_goes_away"),
        pytest.param("sqlite", ["sqlite"], ["sqlite"], id="file"),
    ],
)
def test_stores_give_the_same_answers(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack, kind: str, first_from: list[str], second_from: list[str]
) -> None:
    quotes, environment = IdentifiedQuotes(COUNT), {"K2_STATE__KIND": kind}
    with new_stack(tmp_path, partitions=1, batch_rows=BATCH_ROWS) as stack, clause.history() as history:
        redis_server(stack)
        with taking_in(stack, history, quotes.delivered("first", last=COUNT // 2), environment):
            pass
        with taking_in(stack, history, quotes.delivered("second"), environment) as consumer:
            recognised(history, consumer, "first restart", COUNT // 2, first_from)
        with ExitStack() as gone:
            if kind == "redis":
                gone.enter_context(stack.servers().killed("redis"))
            with taking_in(stack, history, quotes.delivered("third"), environment) as consumer:
                recognised(history, consumer, "second restart", COUNT, second_from)
            record_fact(history, "rows", quotes.ids(), stored_ids, stack, samples=COUNT)
    clause.judge()


def recognised(history: HistoryWriter, consumer: WatchedConsumer, when: str, count: int, stores: list[str]) -> None:
    """Facts: how many duplicates a consumer counted since its start, and which stores gave it what it knew."""
    repeats = consumer.counted(DUPLICATES, KIND, count)
    record_fact(history, f"duplicates after the {when}", count, lambda: repeats)
    given = [store for store in ("memory", "redis", "sqlite") if hits(consumer, store)]
    record_fact(history, f"who had the known ids at the {when}", stores, lambda: given)


def hits(consumer: WatchedConsumer, store: str) -> bool:
    """Whether a store gave a checkpoint."""
    return consumer.counted("k2_state_cache_reads_total", {"store": store, "outcome": "hit"}, 1) > 0
