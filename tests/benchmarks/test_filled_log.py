"""The trades of a filled log are in sequence, however they are divided."""

import numpy as np
import pyarrow as pa

from benchmarks.filled_log import trade_records
from benchmarks.harness import Measurement
from benchmarks.ingest import ratios
from k2.records.definition import TRADE
from k2.records.schemas import arrow_schema


def test_parts_are_what_the_whole_is() -> None:
    whole = trade_records(0, 1_000, 50)
    parts = pa.Table.from_batches([trade_records(0, 400, 50), trade_records(400, 600, 50)])
    for name in ("symbol", "session_sequence", "source_sequence", "event_time_ns"):
        assert parts.column(name).to_pylist() == whole.column(name).to_pylist()


def test_every_symbol_counts_on_without_a_gap() -> None:
    rows = trade_records(0, 5_000, 40)
    symbols = np.array(rows.column("symbol").to_pylist())
    numbers = rows.column("source_sequence").to_numpy()
    for symbol in np.unique(symbols):
        assert set(np.diff(numbers[symbols == symbol])) == {1}


def test_columns_are_those_of_a_trade() -> None:
    assert trade_records(0, 10).schema.equals(arrow_schema(TRADE), check_metadata=False)


def test_goals_of_ingest_are_of_core_seconds() -> None:
    names = ("K2", "floor", "plain, one a call", "plain, 500 a call")
    values = {"K2": 4.0, "floor": 2.0, "plain, one a call": 60.0, "plain, 500 a call": 50.0}
    measured = {
        f"{name}, {what}": Measurement(name, "us", (values[name],)) for name in names for what in ("core", "clock")
    }
    found = {ratio.name: ratio for ratio in ratios(measured)}
    assert found["floor / K2, core"].is_met is False
    assert found["plain, one a call / K2, core"].is_met is True
    assert found["plain, 500 a call / K2, core"].is_met is None
    assert found["K2, messages a second by the clock"].value == 250_000
