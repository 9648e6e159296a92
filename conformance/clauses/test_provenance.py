"""Provenance: what the feed held is what the API answers.

Every record of a capture MUST be in the log where the broker said it is, in the table exactly once, and in the API's
answer with the values of the capture, exactly (REC-2, REC-5, API-1). The capture is read once by K2 and
once by the harness's own reader, which shares no code with it.
"""

from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.capture_truth import CaptureTruth, read_truth
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.log_tap import LogTap
from conformance.drivers.observing import observe_answers, observe_log, observe_tables
from conformance.drivers.sequences import gap_table, reported_gaps, stored_trades
from conformance.stacks.base import Stack
from k2.embedded.platform import FEED_WINDOW_MESSAGES
from k2.feeds.binance import BinanceCapture
from k2.feeds.capture_writer import write_capture
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import source_topics

CLAIMS = ("REC-2a", "REC-2b", "REC-5a", "API-1a", "API-1b")
REMEDY = "the finding names the stage where the record was last seen intact; start at that stage's package in k2/"


@pytest.mark.clause(
    name="provenance/generated_capture",
    claims=CLAIMS,
    checker="provenance",
    title="Every record of a generated capture is in the log, in the table once, and in the API's answer unchanged",
    minimum_samples=10_000,
    remedy=REMEDY,
)
def test_every_record_of_a_generated_capture_reaches_the_answer(
    stack: Stack, clause: ClauseRun, tmp_path: Path
) -> None:
    capture = tmp_path / "generated.gz"
    settings = SyntheticSettings(seed=20, records=20_000, gap_rate=0.0, duplicate_rate=0.0, reorder_rate=0.0)
    write_capture(SyntheticExchange(settings), capture)
    follow(stack, clause, [capture])


@pytest.mark.clause(
    name="provenance/recorded_capture",
    claims=CLAIMS,
    checker="provenance",
    title="Every trade, bid and offer of two recorded captures across midnight reaches the API's answer unchanged",
    minimum_samples=93_078,
    remedy=REMEDY,
)
def test_every_record_of_two_recorded_captures_reaches_the_answer(
    stack: Stack, clause: ClauseRun, captures: Path
) -> None:
    folder = captures / "binance_spot"
    api_url = follow(stack, clause, [folder / "btcusdt_20240808.gz", folder / "btcusdt_20240809.gz"])
    gaps = clause.part(
        "provenance/recorded_capture_gaps",
        ("SEQ-1a", "API-1c"),
        "sequence",
        "Two recorded captures in a row have no gap, and none is reported: the quotes' update ids are not a sequence",
        minimum_samples=19_904,
    )
    with gaps.history() as history:
        rows = stored_trades(stack)
        history.observe("verdicts", rows)
        in_order = pa.array(["IN_ORDER"] * rows.num_rows)
        history.observe("truth", rows.set_column(rows.schema.get_field_index("event"), "event", in_order))
        found = [gap for kind in ("trades", "quotes") for gap in reported_gaps(api_url, kind)]
        history.observe("gaps", gap_table(found))
        history.observe("truth_gaps", gap_table([]))
    gaps.judge()


def follow(stack: Stack, clause: ClauseRun, paths: list[Path]) -> str:
    """Feed captures, consume them, ask for everything, and have the journey judged; returns the API's address."""
    required = ["fed", "logged", "stored", "answered", "snapshots"]
    truths = [read_truth(path) for path in paths]
    with clause.history(required_stages=required) as history:
        consumers = [stack.start_consumer(data_type) for data_type in ("trades", "quotes")]
        sources = source_topics(stack.settings.kafka.topic_prefix)
        with LogTap(stack.settings.kafka.bootstrap_servers, sources) as tap:
            feed = chain.from_iterable(BinanceCapture(path, refuse_bad_line) for path in paths)
            fed = feed_records(stack, feed, FEED_WINDOW_MESSAGES)
            messages = tap.wait_for(len(fed.items), timeout_seconds=60)
        wait_until_drained(
            stack, history, fed.acknowledged_ends(), lambda: all(c.returncode() is None for c in consumers)
        )
        api_url = stack.start_api()
        for data_type in ("trades", "quotes"):
            history.observe("fed", fed.table(data_type, joined(truths, data_type)), data_type)
            observe_answers(history, api_url, data_type, {"exchange": "BINANCE"})
        observe_log(history, stack, messages)
        observe_tables(history, stack, ("trades", "quotes"))
        history.operation("harness", "capture_read", "ok", attributes={"lines": sum(truth.lines for truth in truths)})
    clause.judge()
    return api_url


def joined(truths: list[CaptureTruth], data_type: str) -> list[dict[str, object]]:
    """The records of several captures, one after the other."""
    return [record for truth in truths for record in truth.records[data_type]]


def refuse_bad_line(line: object) -> None:
    """A line the reader refuses is missed in the table; nothing more to do here."""
