"""Two writers at one table: one wins, the other is refused and has written nothing.

Whoever commits a range of offsets that another has committed since MUST be refused with an error that says so, and
nothing of its batch may be in the table or take away what is (CON-6c). Writers of different partitions MUST both
succeed, and no commit may drop or set back the progress of partitions it does not move (CON-6i).
"""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.live_files import missing_files, shrunken_snapshots
from conformance.drivers.observing import observe_tables
from conformance.stacks.base import NewStack, SignalPlan, Stack
from conformance.stacks.racing_writer import TOPIC
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.producer import Delivery
from k2.records.definition import TRADE

RACES = by_profile(smoke=20, full=100)
RACES_APART = by_profile(smoke=10, full=30)
RECORDS_A_RACE = 5
REFUSAL = "another writer was first, nothing was written"
STOP_TIMEOUT_SECONDS = 60.0
BATCH_ROWS = 500


@pytest.mark.clause(
    name="two_writers/races",
    claims=("CON-6c", "CON-6i", "CON-5b"),
    checker="facts",
    title="Of two writers racing for the same offsets one wins and one is refused; apart, both win",
    minimum_samples=RACES,
    remedy="see TableWriter.commit and k2/storage/progress.py",
)
def test_two_racing_writers_write_each_range_once(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    delivery = clause.part(
        "two_writers/rows", ("CON-6c",), "delivery", "No raced row is lost or twice in the table", RACES
    )
    storage = stack.settings.storage
    table = (storage, TRADE.table)
    with clause.history(seed=11) as history, racers(tmp_path) as writers:
        raced, outcomes = race_for_the_same(writers)
        kinds = sorted({answer.get("error", "") for answers in outcomes for answer in answers if not answer["won"]})
        winners = [sum(answer["won"] for answer in answers) for answers in outcomes]
        refusals = [answer["message"] for answers in outcomes for answer in answers if not answer["won"]]
        record_fact(history, "races with one winner", RACES, lambda: winners.count(1), samples=RACES)
        record_fact(history, "errors of the losers", ["StaleWriterError"], lambda: kinds)
        record_fact(history, "refusals that say why", RACES, lambda: sum(REFUSAL in text for text in refusals))
        apart, outcomes = race_apart(writers)
        both = [sum(answer["won"] for answer in answers) for answers in outcomes]
        record_fact(history, "races apart that both won", RACES_APART, lambda: both.count(2), samples=RACES_APART)
        record_fact(history, "snapshots that dropped progress", 0, lambda: len(shrunken_snapshots(*table)))
        record_fact(history, "live files missing", [], missing_files, *table)
    with delivery.history(seed=11) as history:
        history.operation("harness", "drain", "ok")
        history.observe("fed", Fed([*raced, *apart]).table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    clause.judge()
    delivery.judge()


@pytest.mark.clause(
    name="two_writers/stale_consumer",
    claims=("CON-6c", "HAR-3c"),
    checker="delivery",
    title="A consumer that slept through its replacement is refused when it wakes, and nothing is lost or twice",
    minimum_samples=3_000,
    remedy="see the order of JUDGE, WRITE and COMMIT in k2/ingestion/consumer.py and TableWriter.commit",
)
def test_a_consumer_that_slept_through_its_replacement_is_refused(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    refused = clause.part("two_writers/refusal", ("CON-6c",), "facts", "The refused consumer says so and goes on")
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack:
        with clause.history(seed=12) as history:
            fed = feed_records(stack, trades(seed=12, records=3_000))
            sleeper = stack.start_consumer("trades", SignalPlan("WRITE", 2, tmp_path / "sleep.jsonl", "SIGSTOP"))
            wait_until_asleep(sleeper)
            consumer = stack.start_consumer("trades")
            wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
            sleeper.signal(signal.SIGCONT)
            wait_for_refusal(stack)
            more = feed_records(stack, trades(seed=13, records=1_000))
            wait_until_drained(stack, history, more.acknowledged_ends(), lambda: consumer.returncode() is None)
            history.observe("fed", Fed([*fed.items, *more.items]).table("trades"), "trades")
            observe_tables(history, stack, ["trades"])
        with refused.history(seed=12) as history:
            record_fact(history, "refusals in the sleeper's log", True, lambda: refusals_logged(stack) > 0)
            record_fact(history, "exit status of the sleeper", 0, lambda: stop(sleeper))
            record_fact(history, "exit status of its replacement", 0, lambda: stop(consumer))
    refused.judge()
    clause.judge()


def trades(seed: int, records: int) -> Iterator[FeedRecord]:
    """Trades of the synthetic exchange."""
    return iter(SyntheticExchange(SyntheticSettings(seed=seed, records=records, trade_share=1.0)))


class racers:  # noqa: N801 - used like a function
    """Two writer processes on the stack's data directory; ended on exit."""

    def __init__(self, tmp_path: Path) -> None:
        command = ["conformance.stacks.racing_writer", "--data-dir", str(tmp_path / "data")]
        self._children = [
            ChildProcess(f"racer-{n}", command, tmp_path / "logs" / f"racer-{n}.log", start=process_starter())
            for n in (1, 2)
        ]

    def __enter__(self) -> Sequence[ChildProcess]:
        return self._children

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.stop()


Items = list[tuple[FeedRecord, Delivery]]
Outcomes = list[list[dict[str, Any]]]


def race_for_the_same(writers: Sequence[ChildProcess]) -> tuple[Items, Outcomes]:
    """Both writers commit the same offsets of partition 0, again and again."""
    clean = SyntheticSettings(
        seed=11, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0, symbols=("BTCUSDT",)
    )
    source = iter(SyntheticExchange(clean))
    items: Items = []
    outcomes: Outcomes = []
    for number in range(RACES):
        batch = list(itertools.islice(source, RECORDS_A_RACE))
        first = number * RECORDS_A_RACE
        entry = {"partition": 0, "expected_offset": first or None, "records": [item.record for item in batch]}
        outcomes.append(run_race(writers, [entry, entry]))
        items += delivered(batch, 0, first)
    return items, outcomes


def race_apart(writers: Sequence[ChildProcess]) -> tuple[Items, Outcomes]:
    """The writers commit to partitions 1 and 2 at the same moments."""
    clean = SyntheticSettings(
        seed=14, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0, symbols=("ETHUSDT",)
    )
    source = iter(SyntheticExchange(clean))
    items: Items = []
    outcomes: Outcomes = []
    for number in range(RACES_APART):
        entries = []
        first = number * RECORDS_A_RACE
        for partition in (1, 2):
            batch = list(itertools.islice(source, RECORDS_A_RACE))
            records = [item.record for item in batch]
            entries.append({"partition": partition, "expected_offset": first or None, "records": records})
            items += delivered(batch, partition, first)
        outcomes.append(run_race(writers, entries))
    return items, outcomes


def delivered(batch: Sequence[FeedRecord], partition: int, first: int) -> Items:
    """Records with the offsets they stand for."""
    return [(item, Delivery(TOPIC, partition, first + place, None)) for place, item in enumerate(batch)]


def run_race(writers: Sequence[ChildProcess], entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let both prepare, start both at once, and collect what each says."""
    for writer, entry in zip(writers, entries, strict=True):
        writer.send_line(json.dumps(entry))
    for writer in writers:
        assert writer.next_line() == "ready"
    for writer in writers:
        writer.send_line("go")
    return [json.loads(writer.next_line()) for writer in writers]


def wait_until_asleep(consumer: ChildProcess) -> None:
    """Wait until the process is stopped by its own signal."""
    give_up_at = time.monotonic() + STOP_TIMEOUT_SECONDS
    while Path(f"/proc/{consumer.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        if time.monotonic() > give_up_at:
            raise TimeoutError("the consumer did not stop where it was told to")
        time.sleep(0.05)


def wait_for_refusal(stack: Stack) -> None:
    """Wait until a consumer logged that it was refused; none may come, which the facts will tell."""
    give_up_at = time.monotonic() + 10
    while not refusals_logged(stack) and time.monotonic() < give_up_at:
        time.sleep(0.1)


def refusals_logged(stack: Stack) -> int:
    """How often consumers logged a refusal."""
    return sum(text.count(REFUSAL) for text in stack.logs().values())


def stop(consumer: ChildProcess) -> int:
    """Exit status after a request to stop."""
    try:
        return consumer.stop()
    except subprocess.TimeoutExpired:
        return -1
