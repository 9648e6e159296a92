"""The audit log tells the table's history.

Every commit MUST be in the audit log with the snapshot ids and sequence numbers before and after and what was added,
the first one with no snapshot before it (ICE-2), also where the writer was killed between the commit and its entry. The
log MUST match the table's history, and what does not match MUST be named and end `k2 audit verify` with its documented
exit code. It MUST answer which snapshot held at a time and which snapshot holds a batch or a message (ICE-4).
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import view_table
from conformance.drivers.transactions import audit_command, audit_entries, observe_transactions, table_snapshots
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

BATCH_ROWS = 200
RECORDS = 2_000
DISAGREEMENT_EXIT_STATUS = 76
KILL_TIMEOUT_SECONDS = 60
ASKED = 3


@pytest.mark.clause(
    name="audit_log",
    claims=("ICE-2a", "ICE-2c", "ICE-4a"),
    checker="audit",
    title="The audit log names every snapshot with what was before it, nothing before the first, in order",
    minimum_samples=5,
    remedy="see k2/storage/transaction_log.py and k2/storage/audit.py",
)
def test_the_audit_log_names_every_snapshot(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    answers = clause.part("audit_log/answers", ("ICE-4b",), "facts", "The log answers for times, batches, messages", 6)
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack, clause.history(seed=4) as history:
        take_in(stack, history, seed=4)
        observe_transactions(history, stack, ["trades"])
        with answers.history(seed=4) as asked:
            ask(asked, stack)
    clause.judge()
    answers.judge()


def ask(history: HistoryWriter, stack: Stack) -> None:
    """Facts: for times, batches and messages the log names the snapshot that table and rows name."""
    snapshots = table_snapshots(stack, TRADE.table)
    batches = {entry["snapshot_id_after"]: entry["batch"] for entry in audit_entries(stack.settings.storage.audit_log)}
    rows = view_table(stack.settings.storage, TRADE.table).rows
    for number in (0, len(snapshots) - 1):
        time_ns = snapshots[number]["committed_wall_ns"]
        at = datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat()
        held = newest_of(snapshots, time_ns)
        record_fact(history, f"snapshot held when {number} was committed", [0, held], answered, stack, "--at", at)
    brought = snapshots[len(snapshots) // 2]["snapshot_id"]
    record_fact(history, "snapshot of a batch", [0, brought], answered, stack, "--batch", batches[brought])
    for number in range(ASKED):
        row = rows.slice(number * (rows.num_rows - 1) // (ASKED - 1), 1).to_pylist()[0]
        message = f"{row['topic']}/{row['kafka_partition']}/{row['kafka_offset']}"
        brought = row["snapshot_id"]
        record_fact(history, f"snapshot of message {number}", [0, brought], answered, stack, "--message", message)


def answered(stack: Stack, option: str, value: str) -> list[int]:
    """Exit status and the snapshot the log names."""
    status, found = audit_command(stack, "snapshot", option, value)
    return [status, *(answer["snapshot_id"] for answer in found)]


def newest_of(snapshots: list[dict[str, Any]], time_ns: int) -> int:
    """The snapshot current at a time: of several in one millisecond the last."""
    return int([each["snapshot_id"] for each in snapshots if each["committed_wall_ns"] <= time_ns][-1])


@pytest.mark.clause(
    name="audit_log/after_a_kill",
    claims=("ICE-4a",),
    checker="audit",
    title="An entry that a kill between commit and log kept from being written is recovered",
    minimum_samples=5,
    remedy="see TransactionLog.recover",
)
def test_an_entry_lost_in_a_kill_is_recovered(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    verify = clause.part("audit_log/verify", ("ICE-4a",), "facts", "What the log does not tell is named", 6)
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack, clause.history(seed=6) as history:
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=6, records=RECORDS, trade_share=1.0)))
        killed = SignalPlan("COMMIT", 3, tmp_path / "steps.jsonl")
        status = stack.start_consumer("trades", killed).wait(KILL_TIMEOUT_SECONDS)
        if status != -9:
            raise RuntimeError(f"the consumer ended with {status} instead of being killed")
        log = stack.settings.storage.audit_log
        whole = log.read_bytes()
        with verify.history(seed=6) as seen:
            disagreements(seen, stack, log)
        # As the kill leaves it a moment earlier: the last entry half written.
        log.write_bytes(torn(whole))
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        consumer.stop()
        observe_transactions(history, stack, ["trades"])
    clause.judge()
    verify.judge()


def disagreements(history: HistoryWriter, stack: Stack, log: Path) -> None:
    """Facts: `k2 audit verify` confirms a log that is whole, and names what was done to one that is not."""
    whole = log.read_bytes()
    last = table_snapshots(stack, TRADE.table)[-1]["snapshot_id"]
    record_fact(history, "a whole log", [0, []], found, stack)
    damages: tuple[tuple[str, bytes, list[list[Any]]], ...] = (
        ("a torn last line", torn(whole), [["missing", None, last], ["torn", whole.count(b"\n"), None]]),
        ("an altered entry", altered(whole), [["altered", 1], ["altered", 2]]),
        ("an entry taken out", b"".join(whole.splitlines(keepends=True)[1:]), [["altered", 1], ["missing", None]]),
    )
    for name, body, expected in damages:
        log.write_bytes(body)
        shown = len(expected[0])
        record_fact(history, name, [DISAGREEMENT_EXIT_STATUS, expected], found, stack, shown)
    log.write_bytes(torn(whole))
    record_fact(history, "recovery", 0, lambda: audit_command(stack, "verify", "--recover")[0])
    record_fact(history, "after recovery", [0, []], found, stack)
    log.write_bytes(whole)


def found(stack: Stack, shown: int = 3) -> list[Any]:
    """Exit status of `k2 audit verify`, and kind, line and snapshot of what it names."""
    status, printed = audit_command(stack, "verify", "--data-type", "trades")
    return [status, sorted((described(finding)[:shown] for finding in printed[:-1]), key=str)]


def described(finding: Mapping[str, Any]) -> list[Any]:
    """Kind, line and snapshot."""
    return [finding["kind"], finding["line"], finding["snapshot_id"]]


def torn(body: bytes) -> bytes:
    """The log with its last entry half written."""
    lines = body.splitlines(keepends=True)
    return b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2]


def altered(body: bytes) -> bytes:
    """The log with one row more in its first entry."""
    lines = body.splitlines(keepends=True)
    document = json.loads(lines[0])
    document["record_count"] += 1
    return b"".join([json.dumps(document, separators=(",", ":")).encode() + b"\n", *lines[1:]])


def take_in(stack: Stack, history: HistoryWriter, seed: int) -> None:
    """Feed trades, and run a consumer until the table has them all."""
    fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=seed, records=RECORDS, trade_share=1.0)))
    consumer = stack.start_consumer("trades")
    wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
    consumer.stop()
