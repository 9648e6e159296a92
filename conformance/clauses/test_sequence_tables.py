"""What the sequence ruling does to rows: late ones, replayed ones, and those whose ranges were given up.

A row judged TOO_OLD MUST reach the table only if its number is not known to have come before, and be flagged late; a
replay after a restart MUST NOT be taken for a session reset (SEQ-4). Open ranges MUST be bounded, and numbers given up
counted as lost (SEQ-2).
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.checkpoints import last_states
from conformance.drivers.consumer_metrics import WatchedConsumer
from conformance.drivers.crafted_trades import (
    LATE,
    UNKNOWN_WHETHER_SEEN,
    CraftedTrades,
    stored_events,
    stored_flags,
    stored_rows,
)
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, table_offsets, wait_until_drained
from conformance.drivers.sequences import gap_table, reported_gaps, stored_trades
from conformance.drivers.silence import METRICS
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

NARROW = 3
FEW_RANGES = {**METRICS, "K2_SEQUENCE__MAX_OPEN_RANGES": str(NARROW)}
EXIT_TIMEOUT_SECONDS = 60
BATCH_ROWS = 1_200
# A batch ends when it is full, however slowly its messages come.
FULL_BATCHES = {"K2_CONSUMER__BATCH_SECONDS": "4"}
LOST, EVENTS = "k2_sequence_numbers_lost_total", "k2_sequence_events_total"
DUPLICATES, TRADES = "k2_duplicates_detected_total", {"data_type": "trades"}
RESETS = {**TRADES, "event": "SESSION_RESET"}


@pytest.mark.clause(
    name="sequence/late_rows",
    claims=("SEQ-4c",),
    checker="facts",
    title="A row far behind is kept, flagged late, where its number was not seen, and dropped where it was",
    minimum_samples=8,
    remedy="see _fate in k2/ingestion/judging.py and Knowledge in k2/ingestion/sequence_tracker.py",
)
def test_a_row_far_behind_is_kept_only_if_its_number_is_not_known(stack: Stack, clause: ClauseRun) -> None:
    # A symbol for each case; of those given up nobody can say any more whether they came.
    before = {"NEW": [5_000, 5_001, 2_000], "SEEN": [*range(3_000, 3_200)], "AFTER": [*range(7_000, 7_200), 6_000]}
    given_up = [1_000, 1_002, 1_004, 1_006, 1_008, *range(1_009, 1_400)]
    after = {"NEW": [2_000, 1_999], "SEEN": [3_001], "AFTER": [7_001, 6_000, 5_999], "GIVEN_UP": [1_001, 1_000, 1_005]}
    crafted = CraftedTrades()
    with clause.history() as history:
        consumer = stack.start_consumer("trades", environment=FEW_RANGES)
        fed = feed_records(stack, crafted.of({**before, "GIVEN_UP": given_up}))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        consumer.stop()
        second = WatchedConsumer(stack.start_consumer("trades", environment=FEW_RANGES))
        wait_until_drained(stack, history, feed_records(stack, crafted.of(after)).acknowledged_ends())
        rows = stored_rows(stack)
        kept = [[2_000, "TOO_OLD", LATE], [1_999, "TOO_OLD", LATE]]
        late = stored_flags(rows, "NEW")[2:]
        record_fact(history, "far behind and not seen", kept, lambda: late)
        record_fact(history, "far behind and seen", [], lambda: stored_flags(rows, "SEEN")[200:])
        kept = [[6_000, "TOO_OLD", LATE], [5_999, "TOO_OLD", LATE]]
        record_fact(history, "far behind over a restart", kept, lambda: stored_flags(rows, "AFTER")[200:])
        both = LATE | UNKNOWN_WHETHER_SEEN
        kept = [[1_001, "TOO_OLD", both], [1_000, "TOO_OLD", both], [1_005, "OUT_OF_ORDER", 0]]
        record_fact(history, "where it is not known", kept, lambda: stored_flags(rows, "GIVEN_UP")[len(given_up) :])
        others = [row for row in rows if row["sequence_event"] == "TOO_OLD" and not row["quality_flags"] & LATE]
        record_fact(history, "rows too old without a flag", 0, lambda: len(others))
        flagged = [row for row in rows if row["quality_flags"] & LATE and row["sequence_event"] != "TOO_OLD"]
        record_fact(history, "rows flagged that are not too old", 0, lambda: len(flagged))
        sent = len(fed.items) + sum(map(len, after.values()))
        record_fact(history, "rows", sent - 4, lambda: len(rows), samples=sent)
        record_fact(history, "dropped rows counted", 4, second.counted, DUPLICATES, TRADES, 4)
    clause.judge()


@pytest.mark.clause(
    name="sequence/replay_is_no_reset",
    claims=("SEQ-4b",),
    checker="facts",
    title="What is read again after a kill, and fed again, is no session reset; a session that starts anew is one",
    minimum_samples=2_000,
    remedy="see AssignedPartitions._start and _session_settings in k2/ingestion/judging.py",
)
def test_a_replay_after_a_restart_is_no_session_reset(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    numbers, anew = range(1, 2_001), [1, 2, 3]
    with new_stack(tmp_path, partitions=1, batch_rows=BATCH_ROWS) as stack, clause.history() as history:
        fed = feed_records(stack, CraftedTrades().of({"BTCUSDT": numbers}))
        killed = SignalPlan("WRITE", 2, tmp_path / "kills.jsonl")
        status = stack.start_consumer("trades", killed, FULL_BATCHES).wait(EXIT_TIMEOUT_SECONDS)
        record_fact(history, "exit status of the consumer killed before its second commit", -9, lambda: status)
        held = sum(table_offsets(stack).values())
        record_fact(history, "numbers in the table then", BATCH_ROWS, lambda: held)
        second = WatchedConsumer(stack.start_consumer("trades", environment=METRICS))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        again = feed_records(stack, CraftedTrades().of({"BTCUSDT": numbers}))
        wait_until_drained(stack, history, again.acknowledged_ends())
        found = stored_events(stored_rows(stack), "BTCUSDT")
        expected = [[number, "IN_ORDER"] for number in numbers]
        record_fact(history, "rows as sent", True, lambda: found == expected, samples=len(numbers))
        repeated = len(numbers)
        record_fact(history, "repetitions counted", repeated, second.counted, DUPLICATES, TRADES, repeated)
        record_fact(history, "session resets counted", 0, second.counted, EVENTS, RESETS, 0)
        new = feed_records(stack, CraftedTrades("another").of({"BTCUSDT": anew}))
        wait_until_drained(stack, history, new.acknowledged_ends())
        expected = [[1, "SESSION_RESET"], [2, "IN_ORDER"], [3, "IN_ORDER"]]
        record_fact(
            history,
            "a session that starts anew",
            expected,
            lambda: stored_events(stored_rows(stack), "BTCUSDT")[len(numbers) :],
        )
        record_fact(history, "that one counted", 1, second.counted, EVENTS, RESETS, 1)
    clause.judge()


@pytest.mark.clause(
    name="sequence/given_up",
    claims=("SEQ-2b",),
    checker="sequence",
    title="With three open ranges a key, the lowest is given up, and its numbers are counted as lost",
    minimum_samples=5_000,
    remedy="see _evict in k2/ingestion/sequence_kernel.py",
)
def test_a_range_too_many_is_given_up_and_counted(stack: Stack, clause: ClauseRun) -> None:
    facts = clause.part("sequence/given_up_exported", ("SEQ-2b",), "facts", "Numbers given up show in the metrics", 3)
    planted = SyntheticSettings(
        seed=61, records=6_000, trade_share=1.0, gap_rate=0.02, duplicate_rate=0, reorder_rate=0.02
    )
    with clause.history(seed=61, sequence={"max_open_ranges": NARROW}) as history:
        consumer = WatchedConsumer(stack.start_consumer("trades", environment=FEW_RANGES))
        wait_until_drained(stack, history, feed_records(stack, SyntheticExchange(planted)).acknowledged_ends())
        history.observe("verdicts", stored_trades(stack))
        api_url = stack.start_api()
        history.observe(
            "gaps", gap_table(gap for gap in reported_gaps(api_url, "trades") if gap["tracker"] == "source")
        )
        states = [state for state in last_states(stack, "trades") if state["tracker"] == "source"]
        history.observe("statistics", statistics_table(states))
    with facts.history(seed=61) as history:
        lost = sum(state["lost_in_evicted_ranges"] for state in states)
        record_fact(history, "numbers were given up", True, lambda: lost > 0)
        most = max(len(state["open_ranges"]) for state in states)
        record_fact(history, "open ranges of a key, at most", NARROW, lambda: most)
        labels = {"data_type": "trades", "tracker": "source"}
        record_fact(history, "numbers given up, exported", lost, consumer.counted, LOST, labels, lost)
    clause.judge()
    facts.judge()


def statistics_table(states: list[dict[str, Any]]) -> pa.Table:
    """Stage `statistics`: what the checkpoints say of each key of the exchange."""
    names = ("total_messages", "in_order", "gaps", "out_of_order", "duplicates", "session_resets", "too_old")
    rows = [
        {
            "exchange": state["key"][0],
            "symbol": state["key"][1],
            **{name: state[name] for name in (*names, "lost_in_evicted_ranges")},
        }
        for state in states
    ]
    return pa.Table.from_pylist(rows)
