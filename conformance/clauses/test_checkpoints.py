"""The state beside the table is what the log says, after every commit and whatever came between.

Each state checkpoint that a snapshot names MUST be there, and MUST equal what the log up to its offset makes of an
empty state (CON-6, SEQ-6): however the log came in batches, across a restart in the middle, and at the moment of a
SIGKILL right after the commit, before anything was started again. A checkpoint of every earlier format MUST load into
what it held (SEQ-6).
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.checkpoints import observe_checkpoints
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.golden_checkpoints import GoldenCheckpoint, golden_checkpoints
from conformance.drivers.log_tap import LogTap
from conformance.drivers.observing import observe_log, observe_tables
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.judging import PartitionState
from k2.ingestion.sequence_tracker import Knowledge, SequenceEvent
from k2.records.definition import TRADE

BATCH_ROWS = 400
STOPPED_AT_BATCH = 4
EXIT_TIMEOUT_SECONDS = 60
EXPECTED_STATUS = {"SIGTERM": 0, "SIGKILL": -9}
SESSION_RECORDS = 1_000
# The second is fed again while it is known, the first when one of its two keys is forgotten.
SEEDS = (41, 42, 42, 43, 41)
LIMITS = {"max_keys": 3, "max_open_ranges": 4, "reset_lowest_distance": 300}
ENVIRONMENT = {f"K2_SEQUENCE__{name.upper()}": str(value) for name, value in LIMITS.items()}
MUST_OCCUR = ["forgotten_keys", "session_resets", "lost_in_evicted_ranges", "out_of_order", "duplicates"]
REMEDY = "the finding names key and field; see k2/ingestion/sequence_batch.py and the order of WRITE and COMMIT"


def sessions() -> Iterator[FeedRecord]:
    """Three sessions with gaps, repeats and late records, each numbered from 1, two of them more than once."""
    exchanges = [
        SyntheticExchange(
            SyntheticSettings(
                seed=seed,
                symbols=("BTCUSDT", "ETHUSDT"),
                records=SESSION_RECORDS,
                trade_share=1.0,
                gap_rate=0.02,
                duplicate_rate=0.02,
                reorder_rate=0.02,
            )
        )
        for seed in SEEDS
    ]
    return chain.from_iterable(exchanges)


@pytest.mark.clause(
    name="checkpoints",
    claims=("CON-6g", "SEQ-6a"),
    checker="checkpoint",
    title="Each state checkpoint is what the log up to its offset makes of an empty state, also when the consumer dies",
    minimum_samples=20,
    remedy=REMEDY,
)
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(("POLL", "SIGTERM"), id="stopped_and_started_again"),
        pytest.param(("COMMIT", "SIGKILL"), id="killed_after_the_commit"),
    ],
)
def test_each_checkpoint_is_what_the_log_makes_of_nothing(
    clause: ClauseRun, tmp_path: Path, plan: tuple[str, str], new_stack: NewStack
) -> None:
    step, signal = plan
    stack = new_stack(tmp_path, partitions=1, batch_rows=BATCH_ROWS)
    with stack, clause.history(seed=SEEDS[0], sequence=LIMITS, must_occur=MUST_OCCUR) as history:
        fed = feed_records(stack, sessions())
        signalled = SignalPlan(step, at_batch(signal), tmp_path / "steps.jsonl", signal)
        with history.invoke("harness", "signal", {"step": step, "signal": signal}) as invocation:
            status = stack.start_consumer("trades", signalled, ENVIRONMENT).wait(EXIT_TIMEOUT_SECONDS)
            invocation.attributes["exit_status"] = status
        if status != EXPECTED_STATUS[signal]:
            raise RuntimeError(f"{signal} after {step} ended the consumer with {status}")
        if signal == "SIGTERM":
            second = stack.start_consumer("trades", environment=ENVIRONMENT)
            wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: second.returncode() is None)
            second.stop()
        observe(history, stack, fed)
    clause.judge()


def at_batch(signal: str) -> int:
    """Stopped in the middle; killed when nearly everything has come, for what has to occur to have occurred."""
    return STOPPED_AT_BATCH if signal == "SIGTERM" else len(SEEDS) * SESSION_RECORDS // BATCH_ROWS


def observe(history: HistoryWriter, stack: Stack, fed: Fed) -> None:
    """Log, table and checkpoints as they are now."""
    with LogTap(stack.settings.kafka.bootstrap_servers, [stack.topic("crypto", "trades")]) as tap:
        observe_log(history, stack, tap.wait_for(len(fed.items), timeout_seconds=30))
    observe_tables(history, stack, [TRADE.data_type])
    observe_checkpoints(history, stack, TRADE.data_type)


NEXT_AT_THE_EXCHANGE = ("source", ("BINANCE", "BTCUSDT"), [117, 112, 95, 131, 130, 140])
JUDGED_AT_THE_EXCHANGE = [
    ["OUT_OF_ORDER", "NEW"],
    ["DUPLICATE", "UNKNOWN"],
    ["DUPLICATE", "UNKNOWN"],
    ["IN_ORDER", "NEW"],
    ["DUPLICATE", "KNOWN"],
    ["GAP", "NEW"],
]
NEXT_OF_THE_FEED = ("session", ("2025-10-09-noon", "BINANCE", "BTCUSDT"), [2_000, 1_500, 7, 2_001])
JUDGED_OF_THE_FEED = [["DUPLICATE", "KNOWN"], ["TOO_OLD", "KNOWN"], ["OUT_OF_ORDER", "NEW"], ["IN_ORDER", "NEW"]]


@pytest.mark.clause(
    name="checkpoints/earlier_formats",
    claims=("SEQ-6b",),
    checker="facts",
    title="A checkpoint of every format loads into what it held, and judges on from there",
    minimum_samples=8,
    remedy="see k2/ingestion/sequence_checkpoint.py; the kept checkpoints are in conformance/golden_checkpoints",
)
def test_a_checkpoint_of_every_format_loads(clause: ClauseRun) -> None:
    with clause.history() as history:
        kept = golden_checkpoints()
        written = PartitionState.empty(kept[-1].settings).to_arrow().schema.metadata
        record_fact(history, "format written now", str(kept[-1].format), lambda: next(iter(written.values())).decode())
        record_fact(history, "formats kept", list(range(1, kept[-1].format + 1)), lambda: [one.format for one in kept])
        for one in kept:
            name = f"format {one.format}"
            record_fact(history, f"{name}: content", one.rows, loaded_rows, one, samples=len(one.rows))
            for tracker, key, numbers, judged in (
                (*NEXT_AT_THE_EXCHANGE, JUDGED_AT_THE_EXCHANGE),
                (*NEXT_OF_THE_FEED, JUDGED_OF_THE_FEED),
            ):
                record_fact(history, f"{name}: next of {tracker}", judged, judged_next, one, tracker, key, numbers)
    clause.judge()


def loaded_rows(kept: GoldenCheckpoint) -> list[dict[str, Any]]:
    """What a state loaded from a kept checkpoint holds, in the columns of its format."""
    loaded = PartitionState.from_arrow(kept.table, kept.settings).to_arrow()
    rows: list[dict[str, Any]] = loaded.select(kept.table.column_names).to_pylist()
    return rows


def judged_next(
    kept: GoldenCheckpoint, tracker: str, key: Sequence[str], numbers: Sequence[int]
) -> list[tuple[str, str]]:
    """Event and knowledge of the numbers that come next of a key."""
    state = PartitionState.from_arrow(kept.table, kept.settings)
    columns = [pa.array([part] * len(numbers)).dictionary_encode() for part in key]
    result = getattr(state, tracker).check(columns, pa.array(numbers, pa.int64()))
    judged = zip(result.events.tolist(), result.seen.tolist(), strict=True)
    return [(SequenceEvent(event).name, Knowledge(seen).name) for event, seen in judged]
