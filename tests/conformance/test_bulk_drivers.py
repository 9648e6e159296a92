"""The drivers of long runs: what was fed as columns, and rows compared with the log and with another run."""

import os

import pyarrow as pa
import pytest

from conformance.drivers.bulk import FedColumns, peak_memory_mib
from conformance.drivers.row_comparison import differing_verdicts, rows_out_of_order
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.producer import Delivery

SNAPSHOTS = pa.table({"snapshot_id": [70, 50], "sequence_number": [1, 2]})
TOPIC = "market.crypto.trades"


def rows(**changed: list[object]) -> pa.Table:
    """Three rows of one key and two of another, from two snapshots."""
    columns: dict[str, list[object]] = {
        "session": ["s"] * 5,
        "exchange": ["BINANCE"] * 5,
        "symbol": ["A", "B", "A", "B", "A"],
        "session_sequence": [1, 1, 2, 2, 3],
        "kafka_partition": [0, 1, 0, 1, 0],
        "kafka_offset": [0, 0, 1, 1, 2],
        "snapshot_id": [70, 70, 70, 50, 50],
        "sequence_event": ["IN_ORDER", "IN_ORDER", "GAP", "IN_ORDER", "IN_ORDER"],
        "quality_flags": [0, 0, 1, 0, 0],
    }
    return pa.table(columns | changed)


def test_rows_in_the_order_of_the_log_are_in_order() -> None:
    assert rows_out_of_order(rows(), SNAPSHOTS) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"session_sequence": [1, 1, 3, 2, 2]},
        {"kafka_offset": [0, 0, 2, 1, 1]},
        {"kafka_partition": [0, 1, 0, 0, 0]},
        {"snapshot_id": [50, 70, 70, 50, 50]},
        {"session_sequence": [1, 1, 2, 2, 2]},
    ],
    ids=["fed_later", "later_snapshot_earlier_offset", "other_partition", "snapshots_swapped", "twice"],
)
def test_a_row_out_of_order_is_counted(changed: dict[str, list[object]]) -> None:
    assert rows_out_of_order(rows(**changed), SNAPSHOTS) == 1


def test_equal_rows_in_another_order_do_not_differ() -> None:
    assert differing_verdicts(rows(), rows().take([4, 3, 2, 1, 0])) == 0


@pytest.mark.parametrize(
    "other",
    [
        rows(sequence_event=["IN_ORDER", "IN_ORDER", "GAP", "GAP", "IN_ORDER"]),
        rows(quality_flags=[0, 0, 1, 0, 2]),
        rows(sequence_event=["IN_ORDER", "IN_ORDER", "GAP", None, "IN_ORDER"]),
        rows().slice(1),
        pa.concat_tables([rows(), rows(session_sequence=[9] * 5).slice(0, 1)]),
    ],
    ids=["event", "flags", "event_missing", "row_missing", "row_more"],
)
def test_a_row_that_differs_is_counted(other: pa.Table) -> None:
    assert differing_verdicts(rows(), other) == 1
    assert differing_verdicts(other, rows()) == 1


def test_what_was_fed_is_kept_with_its_fate() -> None:
    fed = FedColumns()
    sent: list[FeedRecord] = list(SyntheticExchange(SyntheticSettings(records=3, trade_share=1.0)))
    fates = [Delivery(TOPIC, 1, 7, None), Delivery(TOPIC, None, None, "refused"), Delivery(TOPIC, 2, 4, None)]
    for item, delivery in zip(sent, fates, strict=True):
        fed.add(item, delivery)
    table = fed.table()
    assert table["outcome"].to_pylist() == ["ok", "fail", "ok"]
    assert table["kafka_offset"].to_pylist() == [7, None, 4]
    assert table["symbol"].to_pylist() == [item.record["symbol"] for item in sent]
    assert table["session_sequence"].to_pylist() == [item.record["session_sequence"] for item in sent]
    assert fed.ends() == {(TOPIC, 1): 8, (TOPIC, 2): 5}


def test_the_peak_of_a_process_is_read_in_mib() -> None:
    assert 10 < peak_memory_mib(os.getpid()) < 100_000
