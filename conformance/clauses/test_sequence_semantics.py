"""Sequence semantics: gaps, late arrivals, duplicates and resets are named by the ruling, on every path.

The verdict on each number MUST be the one the ruling gives (SEQ-1, SEQ-4), gaps MUST be inclusive ranges that late
arrivals fill and split (SEQ-2), keys MUST not disturb one another (SEQ-3), the vectorised tracker MUST agree with the
scalar one (SEQ-7), and what was planted in the synthetic exchange MUST be what is found (REC-5). The checker derives
the ruling on its own and compares with the generator's plan too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.sequences import Gap, Numbers, gap_row, gap_table, reported_gaps, stored_trades, verdict_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.planted import PlantedTruth
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.ingestion.sequence_tracker import SequenceEvent, SequenceTracker
from k2.settings import SequenceSettings

PLANTED = SyntheticSettings(
    seed=7, records=40_000, trade_share=1.0, gap_rate=0.01, duplicate_rate=0.01, reorder_rate=0.01, reset_every=5_000
)
BATCH_ROWS = 997
Judged = tuple[list[str], list[Gap]]
REMEDY = "compare k2/ingestion/sequence_tracker.py with the ruling in its docstring; docs name the settings"


def by_scalar_tracker(numbers: Numbers) -> Judged:
    """Events and open gaps from the scalar tracker."""
    tracker = SequenceTracker(SequenceSettings())
    events = [tracker.check_sequence(*number).name for number in numbers]
    keys = dict.fromkeys((exchange, symbol) for exchange, symbol, _ in numbers)
    return events, [gap_row(key, first, last) for key in keys for first, last in tracker.get_gaps(*key)]


def by_vectorised_tracker(numbers: Numbers) -> Judged:
    """Events and open gaps from the vectorised tracker, in batches and with a checkpoint between every two."""
    tracker = SequenceBatchTracker(SequenceSettings())
    events: list[str] = []
    for start in range(0, len(numbers), BATCH_ROWS):
        exchanges, symbols, values = zip(*numbers[start : start + BATCH_ROWS], strict=True)
        keys = [pa.array(column).dictionary_encode() for column in (exchanges, symbols)]
        result = tracker.check(keys, pa.array(values, pa.int64()))
        events += [SequenceEvent(code).name for code in result.events]
        tracker = SequenceBatchTracker.from_arrow(tracker.to_arrow(), SequenceSettings())
    return events, [gap_row(key, first, last) for key, first, last in tracker.open_gaps()]


@pytest.mark.clause(
    name="sequence",
    claims=("SEQ-1a", "SEQ-2a", "SEQ-3a", "SEQ-4a", "SEQ-7a", "REC-5b"),
    checker="sequence",
    title="Each number gets the verdict of the ruling, and the gaps at the end are those that were planted",
    minimum_samples=30_000,
    remedy=REMEDY,
)
@pytest.mark.parametrize("judge", [by_scalar_tracker, by_vectorised_tracker], ids=["scalar", "vectorised"])
def test_a_tracker_gives_every_number_the_verdict_of_the_ruling(
    clause: ClauseRun, judge: Callable[[Numbers], Judged]
) -> None:
    exchange = SyntheticExchange(PLANTED)
    sent = [item.record for item in exchange]
    numbers = [(record["exchange"], record["symbol"], record["source_sequence"]) for record in sent]
    with clause.history(seed=PLANTED.seed) as history:
        events, gaps = judge(numbers)
        history.observe("verdicts", verdict_table(numbers, events))
        history.observe("gaps", gap_table(gaps))
        observe_truth(history, exchange.truth(), sent, with_duplicates=True)
    clause.judge()


@pytest.mark.clause(
    name="sequence/end_to_end",
    claims=("SEQ-1a", "SEQ-2a", "SEQ-4a", "REC-5b", "API-1c"),
    checker="sequence",
    title="The table's verdicts and the API's gaps are those that were planted in the feed",
    minimum_samples=15_000,
    remedy=REMEDY,
)
def test_the_table_and_the_api_show_what_was_planted(stack: Stack, clause: ClauseRun) -> None:
    exchange = SyntheticExchange(
        SyntheticSettings(
            seed=8, records=20_000, trade_share=1.0, gap_rate=0.005, duplicate_rate=0.005, reorder_rate=0.005
        )
    )
    with clause.history(seed=8) as history:
        stack.start_consumer("trades")
        fed = feed_records(stack, exchange, window=8_000)
        wait_until_drained(stack, history, fed.acknowledged_ends())
        api_url = stack.start_api()
        history.observe("verdicts", stored_trades(stack))
        found = [gap for gap in reported_gaps(api_url, "trades") if gap["tracker"] == "source"]
        history.observe("gaps", gap_table(found))
        observe_truth(history, exchange.truth(), [item.record for item, _ in fed.items], with_duplicates=False)
    clause.judge()


def observe_truth(
    history: HistoryWriter, truth: PlantedTruth, sent: Sequence[dict[str, Any]], *, with_duplicates: bool
) -> None:
    """Stages `truth` and `truth_gaps`: the generator's plan, without the duplicates where only the table is seen."""
    planned = {(key.exchange, key.symbol): key for key in truth.keys if key.data_type == "trades"}
    events = [planned[r["exchange"], r["symbol"]].events[r["session_sequence"] - 1] or "" for r in sent]
    kept = [place for place, event in enumerate(events) if with_duplicates or event != "DUPLICATE"]
    numbers = [(sent[place]["exchange"], sent[place]["symbol"], sent[place]["source_sequence"]) for place in kept]
    history.observe("truth", verdict_table(numbers, [events[place] for place in kept]))
    gaps = [gap_row(key, gap.first, gap.last) for key, plan in planned.items() for gap in plan.open_ranges]
    history.observe("truth_gaps", gap_table(gaps))
