"""The documented behaviours of the consumer (docs/consumer.md), on its own process, a broker and a table.

Sequence: gaps, late numbers, repetitions, session resets, keys apart, a restart in between. Batch: the row limit, the
time limit, borders that leave no trace, silence that commits nothing, no more in hand than the limit.
Iceberg: exact values in their types, files by day and exchange, rows, progress and state in one snapshot or none
(CON-5). The other behaviours are those of the clauses that cite CON-5 beside another claim.
"""

import itertools
import time
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.checkpoints import last_states
from conformance.drivers.consumer_metrics import WatchedConsumer
from conformance.drivers.crafted_trades import CraftedTrades, stored_events, stored_rows
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.outages import outage
from conformance.drivers.retry_log import wait_for_retries
from conformance.drivers.silence import METRICS
from conformance.drivers.table_view import metadata_location, open_table, view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Outage, Stack
from k2.feeds.feed import FeedRecord
from k2.records.definition import TRADE

KIND = {"data_type": "trades"}
ROW_LIMIT, BATCHES, BACKLOG, LARGE_BATCH = 100, 3, 9_000, 2_000
BY_ROWS = {**METRICS, "K2_CONSUMER__BATCH_ROWS": str(ROW_LIMIT), "K2_CONSUMER__BATCH_SECONDS": "3600"}
BY_TIME = {"K2_CONSUMER__BATCH_ROWS": str(LARGE_BATCH), "K2_CONSUMER__BATCH_SECONDS": "0.2"}
SILENT_SECONDS = 0.8
FIRST_HALF = {
    "GAP": [1, 2, 6, 7],
    "LATE": [1, 5, 3],
    "TWICE": [1, 2, 2, 3, 1],
    "RESET": [9_999, 10_000, 1, 2],
    "APART": [70, 71, 72],
    "RESTART": [1_200, 1_201, 1_203],
}
SECOND_HALF = {"APART": [73], "RESTART": [1_202, 1_201, 1_204]}
EXPECTED = {
    "GAP": [[1, "IN_ORDER"], [2, "IN_ORDER"], [6, "GAP"], [7, "IN_ORDER"]],
    "LATE": [[1, "IN_ORDER"], [5, "GAP"], [3, "OUT_OF_ORDER"]],
    "TWICE": [[1, "IN_ORDER"], [2, "IN_ORDER"], [3, "IN_ORDER"]],
    "RESET": [[9_999, "IN_ORDER"], [10_000, "IN_ORDER"], [1, "SESSION_RESET"], [2, "IN_ORDER"]],
    "APART": [[number, "IN_ORDER"] for number in (70, 71, 72, 73)],
    "RESTART": [
        *([1_200, "IN_ORDER"], [1_201, "IN_ORDER"], [1_203, "GAP"]),
        *([1_202, "OUT_OF_ORDER"], [1_204, "IN_ORDER"]),
    ],
}
OPEN = {"GAP": [[3, 5]], "LATE": [[2, 2], [4, 4]]}


@pytest.mark.clause(
    name="consumer_behaviours/sequence_and_batch",
    claims=("CON-1b", "CON-5a"),
    checker="facts",
    title="The six behaviours of sequences and the five of batches hold",
    minimum_samples=BACKLOG,
    remedy="docs/consumer.md names the test of each behaviour",
)
def test_sequences_and_batches_behave_as_documented(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    crafted = CraftedTrades()
    with new_stack(tmp_path, partitions=1) as stack, clause.history() as history:
        filler = range(1, BATCHES * ROW_LIMIT - total(FIRST_HALF) + 1)
        fed = feed_records(stack, crafted.of({**FIRST_HALF, "FILLER": filler}))
        first = WatchedConsumer(stack.start_consumer("trades", environment=BY_ROWS))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        record_fact(history, "batches that the row limit ended", [ROW_LIMIT] * BATCHES, batch_sizes, stack)
        record_fact(history, "repetitions counted", 2, first.counted, "k2_duplicates_detected_total", KIND, 2)
        first.process.stop()
        stack.start_consumer("trades", environment=BY_TIME)
        drain(stack, history, crafted.of(SECOND_HALF))
        sizes = batch_sizes(stack)[BATCHES:]
        record_fact(history, "messages in batches that the time limit ended", total(SECOND_HALF), lambda: sum(sizes))
        time.sleep(SILENT_SECONDS)
        record_fact(history, "batches of a silence", [], lambda: batch_sizes(stack)[BATCHES + len(sizes) :])
        drain(stack, history, crafted.of({"BACKLOG": range(1, BACKLOG + 1)}))
        record_fact(
            history, "batches larger than they may be", [], lambda: [s for s in batch_sizes(stack) if s > LARGE_BATCH]
        )
        rows = stored_rows(stack)
        for symbol, expected in EXPECTED.items():
            record_fact(history, f"rows of {symbol}", expected, lambda s=symbol: stored_events(rows, s))
        record_fact(history, "ranges left open", OPEN, open_ranges, stack)
        whole = [[number, "IN_ORDER"] for number in range(1, BACKLOG + 1)]
        backlog = stored_events(rows, "BACKLOG")
        record_fact(history, "a backlog as if it were one batch", True, lambda: backlog == whole, samples=BACKLOG)
    clause.judge()


@pytest.mark.clause(
    name="consumer_behaviours/iceberg",
    claims=("CON-5b",),
    checker="facts",
    title="Values are exact, files lie by day and exchange, and a commit is rows, progress and state, or nothing",
    minimum_samples=8,
    remedy="docs/consumer.md names the test of each behaviour",
)
def test_what_a_commit_is_made_of(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    crafted = CraftedTrades()
    with new_stack(tmp_path, partitions=2) as stack, clause.history() as history:
        storage = stack.settings.storage
        stack.start_consumer("trades")
        fed = feed_records(stack, exact_trades(crafted))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        stored = [values_of(row) for row in stored_rows(stack)]
        record_fact(history, "values", sorted(values_of(item.record) for item, _ in fed.items), lambda: sorted(stored))
        table = open_table(storage, TRADE.table)
        types = {"price": "decimal(28, 10)", "event_time_ns": "long", "event_time": "timestamptz"}
        record_fact(history, "types", types, lambda: {name: str(table.schema().find_type(name)) for name in types})
        record_fact(history, "rows by day and exchange", rows_by_partition(fed), stored_by_partition, stack)
        with outage(stack, history, Outage.WAREHOUSE_AWAY):
            before = metadata_location(stack.settings.storage, TRADE.table)
            more = feed_records(stack, crafted.of({"LATER": range(1, 51)}))
            wait_for_retries(stack, "consumer-trades", 1)
            record_fact(
                history,
                "what a failed commit left in the table",
                before,
                metadata_location,
                stack.settings.storage,
                TRADE.table,
            )
        wait_until_drained(stack, history, more.acknowledged_ends())
        record_fact(history, "rows outside the range of their snapshot", 0, rows_out_of_range, stack)
        record_fact(history, "partitions whose state cannot be read", [], lambda: states_missing(stack))
        later = [[number, "IN_ORDER"] for number in range(1, 51)]
        record_fact(history, "rows after the failed commit", later, lambda: stored_events(stored_rows(stack), "LATER"))
        record_fact(history, "rows in all", len(fed.items) + 50, lambda: len(stored_rows(stack)))
    clause.judge()


def drain(stack: Stack, history: HistoryWriter, records: Any) -> Fed:
    """Send records and wait until the table holds them."""
    fed = feed_records(stack, records)
    wait_until_drained(stack, history, fed.acknowledged_ends())
    return fed


def total(numbers: Mapping[str, list[int]]) -> int:
    """How many numbers there are of all symbols."""
    return sum(map(len, numbers.values()))


def snapshots(stack: Stack) -> list[dict[str, Any]]:
    """The snapshots of the trades table, oldest first."""
    storage = stack.settings.storage
    found: list[dict[str, Any]] = view_table(storage, TRADE.table).snapshots.to_pylist()
    return found


def batch_sizes(stack: Stack) -> list[int]:
    """Messages of each batch: what each snapshot moved the table on by."""
    ends = [sum(place["next_offset"] for place in snapshot["progress"]) for snapshot in snapshots(stack)]
    return [end - before for before, end in itertools.pairwise([0, *ends])]


def open_ranges(stack: Stack) -> dict[str, list[list[int]]]:
    """Open gaps of each symbol that has any, from the state that the table names."""
    return {
        state["key"][1]: [[gap["first"], gap["last"]] for gap in state["open_ranges"]]
        for state in last_states(stack, "trades")
        if state["tracker"] == "source" and state["open_ranges"]
    }


def exact_trades(crafted: CraftedTrades) -> list[FeedRecord]:
    """Trades with extreme values, of two exchanges on three days."""
    day_ns = 86_400 * 10**9
    start_ns = crafted.one("START", 1).record["event_time_ns"]
    return [
        crafted.one(
            "EXACT",
            None,
            exchange=exchange,
            event_time_ns=start_ns - days * day_ns + 1,
            receive_time_ns=start_ns + 999_999_999,
            price=price,
            quantity=quantity,
        )
        for days, exchange in ((0, "BINANCE"), (0, "ASX"), (1, "BINANCE"), (2, "ASX"), (2, "ASX"))
        for price, quantity in (("0.0000000001", "999999999999999999.9999999999"), ("1.10", "3"))
    ]


def values_of(row: Mapping[str, Any]) -> list[Any]:
    """What must be exact of a record or of its row."""
    numbers = [str(Decimal(row[name]).normalize()) for name in ("price", "quantity")]
    return [row["exchange"], row["session_sequence"], row["event_time_ns"], row["receive_time_ns"], *numbers]


def rows_by_partition(fed: Fed) -> dict[str, int]:
    """How many records there are of each day and exchange."""
    found: dict[str, int] = {}
    for item, _ in fed.items:
        day = date(1970, 1, 1) + timedelta(days=item.record["event_time_ns"] // (86_400 * 10**9))
        name = f"{day} {item.exchange}"
        found[name] = found.get(name, 0) + 1
    return found


def stored_by_partition(stack: Stack) -> dict[str, int]:
    """How many rows Iceberg says lie in each partition."""
    storage = stack.settings.storage
    table = open_table(storage, TRADE.table)
    partitions = table.inspect.partitions().to_pylist()
    return {" ".join(map(str, one["partition"].values())): one["record_count"] for one in partitions}


def rows_out_of_range(stack: Stack) -> int:
    """Rows that came with another snapshot than the one that moved their partition past them."""
    ranges: dict[tuple[int, str, int], range] = {}
    before: dict[tuple[str, int], int] = {}
    for snapshot in snapshots(stack):
        for place in snapshot["progress"]:
            at = (place["topic"], place["partition"])
            ranges[(snapshot["snapshot_id"], *at)] = range(before.get(at, 0), place["next_offset"])
            before[at] = place["next_offset"]
    return sum(
        row["kafka_offset"] not in ranges.get((row["snapshot_id"], row["topic"], row["kafka_partition"]), range(0))
        for row in stored_rows(stack)
    )


def states_missing(stack: Stack) -> list[str]:
    """Why states that the table names cannot be read."""
    try:
        last_states(stack, "trades")
    except ValueError as error:
        return [str(error)]
    return []
