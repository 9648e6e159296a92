"""Where log and table cannot be brought together, the consumer stops and says so; it never guesses.

A foreign cluster, a truncated log, a topic made anew (between two runs or under a running consumer) and a changed
number of partitions MUST each stop the consumer with exit code 76 and one clear line, and the table MUST stay as it
is (CON-6e). So MUST a state checkpoint that is gone or was altered; going back to a snapshot whose state is whole MUST
then bring everything back (CON-6h), and a table rolled back MUST take in again exactly what was rolled back (CON-6d).
"""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from conformance.clause import ClauseRun
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.observing import observe_tables
from conformance.drivers.table_view import PROGRESS_PROPERTY, open_table
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Stack
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

PARTITIONS = 4
STOP_TIMEOUT_SECONDS = 60.0
PROGRESS_EXIT_STATUS = 76
BATCH_ROWS = 200
RECORDS = 1_000


@pytest.fixture
def stack(tmp_path: Path, new_stack: NewStack) -> Iterator[Stack]:
    """A stack whose consumer commits several small batches."""
    with new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS) as running:
        yield running


@pytest.mark.clause(
    name="stop_conditions",
    claims=("CON-6e",),
    checker="facts",
    title="Log and table that do not belong together stop the consumer, and the table stays as it is",
    minimum_samples=10,
    remedy="see k2/ingestion/assignment.py",
)
def test_log_and_table_that_do_not_belong_together_stop_the_consumer(
    stack: Stack, clause: ClauseRun, tmp_path: Path
) -> None:
    with clause.history(seed=31) as history:
        take_in(stack, history, feed_records(stack, trades(31, RECORDS)))
        with foreign_cluster(stack, tmp_path) as environment:
            stops(stack, history, "a foreign cluster", "was filled from cluster", environment)

        feed_records(stack, trades(32, RECORDS))
        partition, offset = max(next_offsets(stack).items(), key=lambda entry: entry[1])
        stack.command_broker("delete_records", topic=topic_of(stack), partition=partition, before_offset=offset + 10)
        stops(stack, history, "a truncated log", f"the table needs offset {offset}, the log holds {offset + 10} to")

        recreate_topic(stack)
        # More than before, so that the table's offsets are in the new log.
        feed_records(stack, trades(33, 3 * RECORDS))
        stops(stack, history, "a topic made anew", f"{topic_of(stack)} was deleted and made anew")

        forget_topic_id(stack, partition_count=PARTITIONS - 1)
        stops(stack, history, "a changed number of partitions", "had 3 partitions")
    clause.judge()


@pytest.mark.clause(
    name="stop_conditions/under_a_running_consumer",
    claims=("CON-6e",),
    checker="facts",
    title="A topic made anew under a running consumer stops it before a message of the new one is a row",
    minimum_samples=2,
    remedy="see AssignedPartitions.check_topics",
)
def test_a_topic_made_anew_under_a_running_consumer_stops_it(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=34) as history:
        fed = feed_records(stack, trades(34, RECORDS))
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        snapshot = current_snapshot(stack)
        # Stopped, or it might look while the new log is still too short for its position, and stop for that.
        consumer.signal(signal.SIGSTOP)
        recreate_topic(stack)
        # More than before, so that the client's old positions are in the new log.
        feed_records(stack, trades(35, 3 * RECORDS))
        consumer.signal(signal.SIGCONT)
        record_fact(history, "exit status", PROGRESS_EXIT_STATUS, consumer.wait, STOP_TIMEOUT_SECONDS)
        why = f"{topic_of(stack)} was deleted and made anew"
        record_fact(history, "it says why", why, what_it_says, consumer, why)
        record_fact(history, "the table is as it was", snapshot, current_snapshot, stack)
    clause.judge()


@pytest.mark.clause(
    name="stop_conditions/lost_state",
    claims=("CON-6h", "CON-6d"),
    checker="delivery",
    title="After a lost and an altered state checkpoint a rollback brings every record back, once",
    minimum_samples=RECORDS,
    remedy="see k2/storage/checkpoints.py and k2/storage/rollback.py",
)
def test_lost_state_stops_and_a_rollback_brings_everything_back(stack: Stack, clause: ClauseRun) -> None:
    facts = clause.part("stop_conditions/lost_state_stops", ("CON-6h",), "facts", "Lost state stops the consumer", 8)
    with clause.history(seed=36) as history, facts.history(seed=36) as seen:
        first = feed_records(stack, trades(36, RECORDS))
        take_in(stack, history, first)
        for name, damage, said in (
            ("a state checkpoint that is gone", remove, "is gone"),
            ("a state checkpoint that was altered", alter, "was altered after it was written"),
        ):
            damaged = table(stack)
            damage(damaged.io, newest_checkpoint(damaged))
            # A copy in a state store would do as well, for it is what the table names.
            stops(stack, seen, name, said, {"K2_STATE__KIND": "none"})
            rows_before = total_rows(stack)
            answer = k2(stack, "rollback", "--data-type", "trades", "--json")
            record_fact(seen, f"rollback after {name}", 0, lambda status=answer.exit_code: status)
            undone = json.loads(answer.stdout or "{}").get("rows_removed", -1)
            record_fact(seen, f"rows undone after {name}", undone, lambda rows=rows_before: rows - total_rows(stack))
            take_in(stack, history, first)
        last = feed_records(stack, trades(37, RECORDS))
        take_in(stack, history, last)
        history.observe("fed", Fed([*first.items, *last.items]).table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    facts.judge()
    clause.judge()


def trades(seed: int, records: int) -> Iterator[FeedRecord]:
    """Trades of the synthetic exchange."""
    return iter(SyntheticExchange(SyntheticSettings(seed=seed, records=records, trade_share=1.0)))


def take_in(stack: Stack, history: HistoryWriter, fed: Fed) -> None:
    """Run a consumer until the table has it all, and stop it."""
    consumer = stack.start_consumer("trades")
    wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
    consumer.stop()


def stops(
    stack: Stack, history: HistoryWriter, name: str, said: str, environment: Mapping[str, str] | None = None
) -> None:
    """Facts: a consumer started now ends with the exit code of ProgressError, says why, and changes nothing."""
    before = current_snapshot(stack)
    consumer = stack.start_consumer("trades", environment=environment)
    record_fact(history, f"exit status on {name}", PROGRESS_EXIT_STATUS, ended, consumer)
    record_fact(history, f"what is said of {name}", said, what_it_says, consumer, said)
    record_fact(history, f"the table after {name}", before, current_snapshot, stack)


def what_it_says(consumer: ChildProcess, expected: str) -> str:
    """What is expected where a line of its log holds it, else its last line; the client library may log after it."""
    lines = consumer.log_path.read_text(errors="replace").splitlines()
    return expected if any(expected in line for line in lines) else (lines or ["nothing"])[-1]


def ended(consumer: ChildProcess) -> int:
    """Exit status; a consumer that goes on is stopped, and that is no status of its own."""
    try:
        return consumer.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        consumer.stop()
        return -1


@contextmanager
def foreign_cluster(stack: Stack, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Another cluster, and the settings of a consumer that is pointed to it."""
    arguments = ["k2.embedded.broker", "--topic", topic_of(stack), "--partitions", str(PARTITIONS)]
    # Never forked: the mock cluster's id is an address in memory, which two forks of one process have in common.
    broker = ChildProcess("other-broker", arguments, tmp_path / "logs" / "other-broker.log")
    try:
        servers = json.loads(broker.next_line())["bootstrap_servers"]
        yield {"K2_KAFKA__BOOTSTRAP_SERVERS": servers, "K2_CONSUMER__ACCEPT_NEW_CLUSTER": "false"}
    finally:
        broker.stop()


def topic_of(stack: Stack) -> str:
    """The topic the clauses are about."""
    return stack.topic("crypto", "trades")


def recreate_topic(stack: Stack) -> None:
    """Delete the topic and make it anew."""
    stack.command_broker("delete_topic", topic=topic_of(stack))
    stack.command_broker("create_topic", topic=topic_of(stack), partitions=PARTITIONS)


def current_snapshot(stack: Stack) -> int:
    """Id of the table's current snapshot."""
    snapshot = table(stack).current_snapshot()
    assert snapshot is not None
    return int(snapshot.snapshot_id)


def total_rows(stack: Stack) -> int:
    """Rows of the current snapshot, as its summary says."""
    snapshot = table(stack).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    return int(snapshot.summary.additional_properties["total-records"])


def table(stack: Stack) -> Table:
    """The table of trades."""
    storage = stack.settings.storage
    return open_table(storage, TRADE.table)


def progress(snapshot: Snapshot | None) -> dict[str, Any]:
    """The table's progress, as a snapshot has it."""
    assert snapshot is not None
    assert snapshot.summary is not None
    document: dict[str, Any] = json.loads(snapshot.summary.additional_properties[PROGRESS_PROPERTY])
    return document


def next_offsets(stack: Stack) -> dict[int, int]:
    """Next offset of each partition of the topic."""
    (topics,) = progress(table(stack).current_snapshot())["clusters"].values()
    return {int(partition): entry[0] for partition, entry in topics[topic_of(stack)].items()}


def checkpoints(snapshot: Snapshot | None) -> set[str]:
    """Addresses of the state checkpoints that a snapshot names."""
    topics = {} if snapshot is None else next(iter(progress(snapshot)["clusters"].values()))
    return {entry[1] for partitions in topics.values() for entry in partitions.values()}


def newest_checkpoint(table: Table) -> str:
    """A state checkpoint that the newest snapshot brought: its parent does not name it."""
    newest = table.current_snapshot()
    assert newest is not None
    return min(checkpoints(newest) - checkpoints(table.snapshot_by_id(newest.parent_snapshot_id or 0)))


def remove(file_io: FileIO, path: str) -> None:
    """Delete it."""
    file_io.delete(path)


def alter(file_io: FileIO, path: str) -> None:
    """Change one byte in the middle."""
    with file_io.new_input(path).open() as file:
        body = bytearray(file.read())
    body[len(body) // 2] ^= 1
    with file_io.new_output(path).create(overwrite=True) as file:
        file.write(bytes(body))


def forget_topic_id(stack: Stack, partition_count: int) -> None:
    """Commit an empty snapshot as a writer would on a cluster that gives no topic ids."""
    document = progress(table(stack).current_snapshot())
    name = next(name for name in document["topics"] if name.endswith(f"/{topic_of(stack)}"))
    document["topics"][name] = [partition_count, None]
    transaction = table(stack).transaction()
    transaction.update_snapshot(snapshot_properties={PROGRESS_PROPERTY: json.dumps(document)}).fast_append().commit()
    transaction.commit_transaction()
