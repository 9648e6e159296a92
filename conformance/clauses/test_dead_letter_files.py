"""Dead letters the broker does not take are in files, whole, whoever dies and whoever else writes.

When the dead letter topic refuses a letter or does not answer, the letter MUST be on disk before the source offset is
committed, a kill MUST lose none of it, and no writer may touch another's file (DLQ-2a). A file MUST end at its size
limit, between two lines: none is split, lost or repeated (DLQ-2b).
"""

import itertools
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.feeding import Fed, feed_records, latest, wait_until_drained
from conformance.drivers.letter_files import (
    after_a_power_cut,
    all_kept,
    file_table,
    letters_in_files,
    line_table,
    read_evidence,
    written_table,
)
from conformance.drivers.log_tap import read_all
from conformance.drivers.observing import observe_tables
from conformance.drivers.poisoning import COPIES, Poison, Poisoner, letter_table, poisons, trades_topic
from conformance.stacks.base import NewStack, SignalPlan, Stack
from conformance.stacks.letter_writer import TOPIC as LETTERS_TOPIC
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.producer import Delivery
from k2.records.definition import dead_letter_topic

BYTES_A_MB = 1024 * 1024
PARTITIONS = 4
POISON = 12 * COPIES
POISON_EVERY = 33
BATCH_ROWS = 500
KILLED_AT_BATCH = 2
DEATH_TIMEOUT_SECONDS = 60
PRODUCE_API_KEY = 0
# More than a consumer can use up: the topic takes nothing for as long as the clause runs.
ENDLESS = 5_000
# The broker forbids the topic; and it does not get the letter stored in the time it is given.
REFUSED, TIMED_OUT = 29, 7
IMPATIENT = {"K2_DEAD_LETTERS__DELIVERY_TIMEOUT_MS": "300"}
SMALL_MB = 0.002
LONG_POISON = Poison("long", b"not avro " + bytes(6_000))
WRITERS = 4
LETTERS_A_WRITER = by_profile(smoke=300, full=3_000)


@pytest.mark.parametrize(
    ("step", "code", "environment"),
    [
        pytest.param("REJECT", REFUSED, {}, id="before_the_commit"),
        pytest.param("COMMIT", TIMED_OUT, IMPATIENT, id="after_the_commit"),
    ],
)
@pytest.mark.clause(
    name="dead_letter_files/killed",
    claims=("DLQ-2a",),
    checker="dead_letters",
    title="Letters the topic does not take are in files, byte for byte, though their consumer is killed",
    minimum_samples=POISON,
    remedy="see DeadLetterQueue.send and DeadLetterFiles.write: nothing is committed before it is synced",
)
def test_letters_without_a_topic_outlive_their_consumer(
    clause: ClauseRun, tmp_path: Path, step: str, code: int, environment: Mapping[str, str], new_stack: NewStack
) -> None:
    files_part = clause.part(
        "dead_letter_files/killed_files",
        ("DLQ-2a",),
        "letter_files",
        "The files of the killed consumer are whole, and its successor has not touched them",
        minimum_samples=POISON,
    )
    plan = SignalPlan(step, KILLED_AT_BATCH, tmp_path / "kill.jsonl")
    with (
        new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=81, required_kinds=sorted({poison.kind for poison in poisons()})) as history,
    ):
        directory = stack.settings.dead_letters.directory
        with Poisoner(stack) as poisoner:
            fed = feed_in_parts(stack, poisoner.among(trades(81), POISON_EVERY, PARTITIONS))
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[code] * ENDLESS)
        status = stack.start_consumer("trades", plan, environment).wait(DEATH_TIMEOUT_SECONDS)
        history.operation("harness", "kill", "ok", attributes={"step": step, "exit_signal": -status})
        before = file_table(directory)
        stack.start_consumer("trades", None, environment)
        wait_until_drained(stack, history, latest(fed.acknowledged_ends(), poisoner.ends()))
        in_topic = read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(trades_topic(stack))])
        history.observe("poison", poisoner.table())
        history.observe("dead_letters", letter_table([*in_topic, *letters_in_files(directory)]))
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    with files_part.history(seed=81, killed=True, required_writers=2) as history:
        history.observe("written", all_kept(poisoner.table()))
        history.observe("lines", line_table(directory))
        history.observe("files_before", before)
        history.observe("files", file_table(directory))
    clause.judge()
    files_part.judge()


@pytest.mark.clause(
    name="dead_letter_files/rotation",
    claims=("DLQ-2b",),
    checker="letter_files",
    title="A consumer whose files may hold two kilobytes begins one after the other, and every line is whole, once",
    minimum_samples=POISON + 1,
    remedy="see DeadLetterFiles: the line that would pass the limit begins the next file",
)
def test_files_rotate_between_lines(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    limits = {"max_size_bytes": int(SMALL_MB * BYTES_A_MB), "each_once": True}
    with (
        new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=82, **limits) as history,
    ):
        directory = stack.settings.dead_letters.directory
        with Poisoner(stack) as poisoner:
            poisoner.send(LONG_POISON, partition=0)
            fed = feed_in_parts(stack, poisoner.among(trades(82), POISON_EVERY, PARTITIONS))
        stack.command_broker("fail_requests", api_key=PRODUCE_API_KEY, error_codes=[REFUSED] * ENDLESS)
        consumer = stack.start_consumer("trades", None, {"K2_DEAD_LETTERS__MAX_SIZE_MB": str(SMALL_MB)})
        wait_until_drained(stack, history, latest(fed.acknowledged_ends(), poisoner.ends()))
        consumer.stop()
        history.observe("written", all_kept(poisoner.table()))
        history.observe("lines", line_table(directory))
    clause.judge()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "max_size_mb", [pytest.param(0.01, id="small_files"), pytest.param(1e-9, id="a_file_for_each_line")]
)
@pytest.mark.clause(
    name="dead_letter_files/racing_writers",
    claims=("DLQ-2a", "DLQ-2b"),
    checker="letter_files",
    title="Four writers of one name, killed while they write, leave every kept letter whole and no file shared",
    minimum_samples=WRITERS * LETTERS_A_WRITER,
    remedy="see DeadLetterFiles: files are opened exclusively and synced before `write` returns",
)
def test_racing_writers_that_are_killed_keep_their_letters(
    clause: ClauseRun, tmp_path: Path, max_size_mb: float
) -> None:
    directory = tmp_path / "dead-letters"
    power_cut = clause.part(
        "dead_letter_files/power_cut",
        ("DLQ-2a",),
        "letter_files",
        "What had been synced when the writers died holds every kept letter",
        minimum_samples=WRITERS * LETTERS_A_WRITER,
    )
    plan: dict[str, Any] = {
        "killed": True,
        "each_once": True,
        "max_size_bytes": int(max_size_mb * BYTES_A_MB),
        "writer_column": "kafka_partition",
        "required_writers": WRITERS,
    }
    with clause.history(seed=83, **plan) as history:
        evidence = race(directory, max_size_mb, tmp_path)
        history.observe("written", written_table(LETTERS_TOPIC, evidence))
        history.observe("lines", line_table(directory))
    with power_cut.history(seed=83, **plan) as history:
        history.observe("written", written_table(LETTERS_TOPIC, evidence))
        history.observe("lines", line_table(after_a_power_cut(directory, evidence, tmp_path / "after-power-cut")))
    clause.judge()
    power_cut.judge()


def race(directory: Path, max_size_mb: float, tmp_path: Path) -> Sequence[Sequence[dict[str, Any]]]:
    """Let writers write side by side, kill each once it has kept enough, and return what each says it did."""
    evidence = [tmp_path / f"writer-{number}.jsonl" for number in range(WRITERS)]
    common = ["--directory", str(directory), "--run-id", "samename", "--max-size-mb", str(max_size_mb)]
    writers = [
        ChildProcess(
            f"writer-{number}",
            [
                *("conformance.stacks.letter_writer", *common),
                *("--writer", str(number), "--evidence", str(evidence[number])),
            ],
            tmp_path / "logs" / f"writer-{number}.log",
            start=process_starter(),
        )
        for number in range(WRITERS)
    ]
    try:
        for writer, path in zip(writers, evidence, strict=True):
            wait_until_kept(path, LETTERS_A_WRITER)
            writer.signal(signal.SIGKILL)
            writer.wait(DEATH_TIMEOUT_SECONDS)
    finally:
        for writer in writers:
            writer.signal(signal.SIGKILL)
    return [read_evidence(path) for path in evidence]


def wait_until_kept(evidence: Path, letters: int) -> None:
    """Wait until a writer has kept so many.

    Raises:
        TimeoutError: it did not.
    """
    give_up_at = time.monotonic() + DEATH_TIMEOUT_SECONDS
    while sum(len(entry.get("kept", ())) for entry in read_evidence(evidence)) < letters:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{evidence.name} does not tell of {letters} kept letters")
        time.sleep(0.05)


def feed_in_parts(stack: Stack, records: Iterator[FeedRecord]) -> Fed:
    """Feed as many records as a batch holds, and wait, again and again: so bad messages lie in every batch."""
    items: list[tuple[FeedRecord, Delivery]] = []
    while part := list(itertools.islice(records, BATCH_ROWS)):
        items += feed_records(stack, part).items
    return Fed(items)


def trades(seed: int) -> Iterator[FeedRecord]:
    """Two thousand trades without a fault: room for each bad message."""
    settings = SyntheticSettings(
        seed=seed, records=POISON * POISON_EVERY, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0
    )
    return iter(SyntheticExchange(settings))
