"""What takes minutes to show: a consumer that dies seventy times, and ten thousand bad messages in a million.

Whatever step it dies after, however often, the table MUST end as if it had never died (CON-1, CON-3, CON-6), and the
dead letters MUST be those of every bad message (DLQ-1).
"""

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.bulk import FedColumns, bulk_view, feed_in_bulk, observe_in_bulk, peak_memory_mib
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import latest, wait_until_drained
from conformance.drivers.group_offsets import reported_offsets
from conformance.drivers.observing import observe_reported_offsets
from conformance.drivers.poisoning import Poisoner, letter_table, poisons, read_letters
from conformance.drivers.row_comparison import differing_verdicts, rows_out_of_order
from conformance.drivers.sequences import Gap, reported_gaps
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.consumer import consumer_group

STEPS = ("ASSIGN", "POLL", "DECODE", "JUDGE", "WRITE", "REJECT", "COMMIT")
KILLS_A_STEP = 10
SURVIVAL_BATCH_ROWS = 1_000
KILLED_AT_BATCH = 2
DEATH_TIMEOUT_SECONDS = 60
FEED_TIMEOUT_SECONDS = 600
# Twelve keys, so that every partition has some.
SYMBOLS = tuple(f"COIN{number:02d}" for number in range(12))
PARTITIONS = 4
# Within what the embedded broker keeps of a partition, and more than a consumer takes before it is killed.
WINDOW_MESSAGES = 8_000
SURVIVAL_FEED = SyntheticSettings(
    seed=70, symbols=SYMBOLS, records=200_000, trade_share=1.0, gap_rate=0.005, duplicate_rate=0.005,
    reorder_rate=0.005, reset_every=5_000,
)  # fmt: skip
# The judge looks at every snapshot, and there are more than are kept by default.
ALL_SNAPSHOTS = {"K2_STORAGE__SNAPSHOTS_KEPT": "1000000"}
SURVIVAL_POISON_EVERY = 300
MILLION_FEED = SyntheticSettings(
    seed=71, symbols=SYMBOLS, records=1_000_000, trade_share=1.0, gap_rate=0.0, duplicate_rate=0.0, reorder_rate=0.0
)
MILLION_POISON_EVERY = 100
KINDS = sorted({poison.kind for poison in poisons()})


@pytest.mark.full_profile
@pytest.mark.timeout(3000)
@pytest.mark.clause(
    name="survival",
    claims=("CON-1a", "CON-3b", "CON-6a", "CON-6b"),
    checker="delivery",
    title="A consumer killed seventy times in one run, ten times after each step, loses nothing and repeats nothing",
    minimum_samples=SURVIVAL_FEED.records or 0,
    remedy="the operations of the history name step and batch of each kill; see k2/ingestion/consumer.py",
)
def test_a_consumer_killed_seventy_times_ends_as_if_it_never_died(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    steps = [step for step in STEPS for _ in range(KILLS_A_STEP)]
    random.Random(SURVIVAL_FEED.seed).shuffle(steps)
    with (
        new_stack(tmp_path / "killed", partitions=PARTITIONS, batch_rows=SURVIVAL_BATCH_ROWS) as stack,
        clause.history(seed=SURVIVAL_FEED.seed, expected_kills=steps) as history,
    ):
        fed, poisoner = feed_with_poison(
            stack, SURVIVAL_FEED, SURVIVAL_POISON_EVERY, lambda: kill_after_each(stack, history, steps, tmp_path)
        )
        drain(stack, history, fed, poisoner)
        rows, snapshots = bulk_view(stack)
        observe_in_bulk(history, fed, rows, snapshots)
        gaps = reported_gaps(stack.start_api(), "trades")
        letters = letter_table(read_letters(stack, poisoner.places()))
    clause.judge()
    letters_part = clause.part(
        "survival/dead_letters",
        ("DLQ-1b",),
        "dead_letters",
        "After seventy kills every bad message is a dead letter, byte for byte, and nothing else is",
        minimum_samples=poisoner.sent,
    )
    with letters_part.history(seed=SURVIVAL_FEED.seed, required_kinds=KINDS) as history:
        history.operation("harness", "drain", "ok")
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letters)
        observe_in_bulk(history, fed, rows, snapshots)
    letters_part.judge()
    judge_order(clause, rows, snapshots)
    judge_against_unkilled(clause, rows, gaps, tmp_path / "unkilled", new_stack)


@pytest.mark.full_profile
@pytest.mark.timeout(1800)
@pytest.mark.clause(
    name="dead_letters/among_a_million",
    claims=("DLQ-1a",),
    checker="dead_letters",
    title="Ten thousand bad messages among a million good ones are dead letters, byte for byte, and nothing else is",
    minimum_samples=(MILLION_FEED.records or 0) // MILLION_POISON_EVERY,
    remedy="see k2/records/decode.py for what is rejected and k2/ingestion/dead_letters.py for what is kept of it",
)
def test_ten_thousand_bad_messages_among_a_million_become_dead_letters(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    started = time.monotonic()
    with (
        new_stack(tmp_path, partitions=PARTITIONS) as stack,
        clause.history(seed=MILLION_FEED.seed, required_kinds=KINDS) as history,
    ):
        consumer = stack.start_consumer("trades", environment=ALL_SNAPSHOTS)
        fed, poisoner = feed_with_poison(stack, MILLION_FEED, MILLION_POISON_EVERY, lambda: None)
        drain(stack, history, fed, poisoner)
        seconds, peak_mib = time.monotonic() - started, peak_memory_mib(consumer.pid)
        measured = {"seconds": round(seconds, 1), "consumer_peak_memory_mib": peak_mib, "records": len(fed)}
        history.operation("harness", "measured", "ok", attributes=measured)
        clause.note(f"{len(fed)} records in {seconds:.1f} s, at most {peak_mib:.0f} MiB in the consumer")
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letter_table(read_letters(stack, poisoner.places())))
        observe_in_bulk(history, fed, *bulk_view(stack))
    clause.judge()


def feed_with_poison(
    stack: Stack, settings: SyntheticSettings, every: int, meanwhile: Callable[[], None]
) -> tuple[FedColumns, Poisoner]:
    """Feed on a thread, a bad message after each `every` good ones, and do something else meanwhile."""
    with (
        Poisoner(stack) as poisoner,
        ThreadPoolExecutor(1, thread_name_prefix="feeder") as pool,
    ):
        records = poisoner.among(SyntheticExchange(settings), every, PARTITIONS)
        feeding: Future[FedColumns] = pool.submit(feed_in_bulk, stack, records, WINDOW_MESSAGES)
        meanwhile()
        if not stack_consumes(stack):
            stack.start_consumer("trades", environment=ALL_SNAPSHOTS)
        fed = feeding.result(FEED_TIMEOUT_SECONDS)
    return fed, poisoner


def stack_consumes(stack: Stack) -> bool:
    """Whether the newest consumer still runs."""
    return stack.process("consumer-trades").returncode() is None


def kill_after_each(stack: Stack, history: HistoryWriter, steps: list[str], directory: Path) -> None:
    """Run a consumer to each of these deaths, one after the other, and record what Kafka had been told by then."""
    servers, group = stack.settings.kafka.bootstrap_servers, consumer_group(stack.settings)
    for number, step in enumerate(steps):
        plan = SignalPlan(step, KILLED_AT_BATCH, directory / f"kill-{number:02d}.jsonl")
        with history.invoke("harness", "kill") as invocation:
            started_ns = time.time_ns()
            status = stack.start_consumer("trades", plan, ALL_SNAPSHOTS).wait(DEATH_TIMEOUT_SECONDS)
            evidence = json.loads(plan.evidence.read_text().splitlines()[0])
            invocation.attributes |= {
                "step": evidence["step"],
                "batch": evidence["batch"],
                "exit_signal": -status,
                "seconds_to_death": round((evidence["wall_ns"] - started_ns) / 1e9, 2),
            }
        places = {(stack.topic("crypto", "trades"), partition): 0 for partition in range(PARTITIONS)}
        observe_reported_offsets(history, stack, reported_offsets(servers, group, places))


def drain(stack: Stack, history: HistoryWriter, fed: FedColumns, poisoner: Poisoner) -> None:
    """Wait until the table has passed everything that was sent."""
    ends = latest(fed.ends(), poisoner.ends())
    wait_until_drained(stack, history, ends, lambda: stack_consumes(stack))


def judge_order(clause: ClauseRun, rows: pa.Table, snapshots: pa.Table) -> None:
    """The rows of each key stand in the order of the log."""
    part = clause.part(
        "survival/order_per_key",
        ("CON-1d",),
        "facts",
        "After seventy kills the rows of each key stand in the order of the log",
        minimum_samples=rows.num_rows,
    )
    with part.history(seed=SURVIVAL_FEED.seed) as history:
        record_fact(history, "rows out of order", 0, rows_out_of_order, rows, snapshots, samples=rows.num_rows)
    part.judge()


def judge_against_unkilled(
    clause: ClauseRun, rows: pa.Table, gaps: list[Gap], directory: Path, new_stack: NewStack
) -> None:
    """The same feed through a consumer that is never killed gives the same rows, verdicts and open gaps."""
    part = clause.part(
        "survival/same_as_unkilled",
        ("CON-3b", "CON-6b"),
        "facts",
        "After seventy kills rows, sequence verdicts and open gaps are those of a run without kills",
        minimum_samples=rows.num_rows,
    )
    with (
        new_stack(directory, partitions=PARTITIONS, batch_rows=SURVIVAL_BATCH_ROWS) as stack,
        part.history(seed=SURVIVAL_FEED.seed) as history,
    ):
        stack.start_consumer("trades", environment=ALL_SNAPSHOTS)
        fed, poisoner = feed_with_poison(stack, SURVIVAL_FEED, SURVIVAL_POISON_EVERY, lambda: None)
        drain(stack, history, fed, poisoner)
        unkilled, _ = bulk_view(stack)
        record_fact(history, "rows", unkilled.num_rows, lambda: rows.num_rows)
        record_fact(history, "rows that differ", 0, differing_verdicts, rows, unkilled, samples=max(rows.num_rows, 1))
        record_fact(history, "open gaps", plain_gaps(reported_gaps(stack.start_api(), "trades")), plain_gaps, gaps)
        record_fact(history, "there are open gaps", True, bool, gaps)
    part.judge()


def plain_gaps(gaps: list[Gap]) -> list[list[object]]:
    """Open gaps in one order, as JSON."""
    names = ("tracker", "exchange", "symbol", "first_missing", "last_missing")
    return sorted([gap[name] for name in names] for gap in gaps)
