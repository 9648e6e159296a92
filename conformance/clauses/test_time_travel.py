"""An answer as of a snapshot or a time equals the table as it was then.

Named by its id or by a time, an older state MUST be answered as an independent reader saw it when it was current
(QRY-3): from the API, the commands and free SQL, to the millisecond of a commit, also before the first one and after a
rollback. A snapshot that does not exist MUST be refused.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.fingerprints import (
    NAMES,
    Fingerprint,
    answered_fingerprint,
    fingerprint,
    scanned_fingerprint,
)
from conformance.drivers.table_view import open_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

ROUNDS, RECORDS = 3, 150
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class State:
    """The table as it was when this snapshot was current."""

    snapshot_id: int
    committed_ms: int
    rows: Fingerprint


@pytest.mark.clause(
    name="time_travel",
    claims=("QRY-3a",),
    checker="facts",
    title="An answer as of a snapshot or a time equals the table as an independent reader saw it then",
    minimum_samples=5 * ROUNDS,
    remedy="see k2/storage/history.py and k2/storage/reader.py",
)
def test_an_older_state_is_answered_as_it_was(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=63) as history:
        consumer = stack.start_consumer("trades")
        records = iter(SyntheticExchange(SyntheticSettings(seed=63, records=ROUNDS * RECORDS, trade_share=1.0)))
        states = [fed(stack, history, itertools.islice(records, RECORDS)) for _ in range(ROUNDS)]
        consumer.stop()
        url = stack.start_api()
        for number, state in enumerate(states):
            by_id = answered_fingerprint(url, {"snapshot_id": state.snapshot_id})
            record_fact(history, f"state {number} by id from the API", state.rows, lambda found=by_id: found)
            for moment, time_ns in (("from", state.committed_ms * NS_PER_MS), ("to", last_moment_ns(stack, state))):
                options = ["--as-of", str(time_ns)]
                record_fact(history, f"state {number} {moment} its time", state.rows, command_rows, stack, options)
        middle = states[1]
        options = ["--snapshot", str(middle.snapshot_id)]
        record_fact(history, "by id", middle.rows, command_rows, stack, options)
        record_fact(history, "in SQL", middle.rows, sql_rows, stack, middle.committed_ms * NS_PER_MS)
        options = ["--as-of", str(first_moment_ns(stack) - 1)]
        record_fact(history, "before the first", fingerprint([]), command_rows, stack, options)
        record_fact(history, "an unknown snapshot", 64, lambda: command(stack, ["--snapshot", "12"]).exit_code)
        record_fact(history, "both", 64, lambda: command(stack, ["--snapshot", "12", "--as-of", "1"]).exit_code)
        rolled_back(stack, history, states)
    clause.judge()


def fed(stack: Stack, history: HistoryWriter, records: Iterable[FeedRecord]) -> State:
    """These records in the table, seen by an independent reader."""
    wait_until_drained(stack, history, feed_records(stack, records).acknowledged_ends())
    return current_state(stack)


def current_state(stack: Stack) -> State:
    """What PyIceberg reads now."""
    snapshot = open_table(stack.settings.storage, TRADE.table).current_snapshot()
    assert snapshot is not None
    rows = scanned_fingerprint(stack.settings.storage, TRADE.table)
    return State(snapshot.snapshot_id, snapshot.timestamp_ms, rows)


def first_moment_ns(stack: Stack) -> int:
    """When the table got its first rows; a consumer that is slow makes more than one commit of what is fed at once."""
    log = open_table(stack.settings.storage, TRADE.table).history()
    return log[0].timestamp_ms * NS_PER_MS


def last_moment_ns(stack: Stack, state: State) -> int:
    """The last nanosecond at which a state was current: the one before the next commit, or well after the last one."""
    log = open_table(stack.settings.storage, TRADE.table).history()
    later = [entry.timestamp_ms for entry in log if entry.timestamp_ms > state.committed_ms]
    return (later[0] if later else state.committed_ms + 60_000) * NS_PER_MS - 1


def rolled_back(stack: Stack, history: HistoryWriter, states: list[State]) -> None:
    """The table is rolled back: times before that still answer what was current then."""
    goal = states[0]
    arguments = ["rollback", "--data-type", "trades", "--to", str(goal.snapshot_id)]
    record_fact(history, "rolled back", 0, lambda: k2(stack, *arguments).exit_code)
    record_fact(history, "afterwards", goal.rows, command_rows, stack, [])
    options = ["--as-of", str(states[1].committed_ms * NS_PER_MS)]
    record_fact(history, "what was undone", states[1].rows, command_rows, stack, options)


def command(stack: Stack, options: list[str]) -> Any:
    """`k2 query trades` with these options."""
    return k2(stack, "query", "trades", "--all", "--json", "--columns", ",".join(NAMES), *options)


def command_rows(stack: Stack, options: list[str]) -> Fingerprint:
    """Every trade `k2 query trades` answers."""
    return fingerprint(command(stack, options).objects)


def sql_rows(stack: Stack, as_of_time_ns: int) -> Fingerprint:
    """Every trade SQL finds as of a time."""
    sql = f"SELECT {', '.join(NAMES)} FROM trades"
    return fingerprint(k2(stack, "query", "--sql", sql, "--as-of", str(as_of_time_ns), "--json").objects)
