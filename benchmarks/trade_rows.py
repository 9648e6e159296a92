"""Rows of the trades table as a consumer hands them to storage: text that repeats is dictionary-encoded."""

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2.records.definition import TRADE
from k2.records.schemas import TIMESTAMP_TYPE, table_schema

FIRST_TIME_NS = 1_795_219_200 * 10**9
_ENCODED = ("session", "exchange", "symbol", "asset_class", "side", "topic", "sequence_event")


def decimals(units: npt.NDArray[np.int64], digits: int) -> pa.Array:
    """Whole numbers of the smallest unit as decimals with so many digits after the point."""
    return pc.multiply(pa.array(units).cast(pa.decimal128(19, 0)), pa.scalar(Decimal(1).scaleb(-digits)))


def trade_rows(rows: int, symbols: int = 50, first_offset: int = 0, random_seed: int = 1) -> pa.Table:
    """Trades of one exchange and one day, a tenth of a millisecond apart; the same for the same arguments."""
    chance = np.random.default_rng(random_seed)
    offsets = np.arange(first_offset, first_offset + rows, dtype=np.int64)
    times_ns = FIRST_TIME_NS + offsets * 100_000
    names = [f"SYM{number:04}USDT" for number in range(symbols)]
    codes = chance.integers(0, symbols, rows)
    # Each symbol's price walks in ticks of a cent from a level of its own; sizes are seldom the same twice.
    cents = 100_000 * (1 + codes) + np.cumsum(chance.integers(-3, 4, rows))
    quantities = np.maximum(1, chance.exponential(50_000, rows).astype(np.int64))
    sides = pa.array(["BUY", "SELL"]).take(pa.array(chance.integers(0, 2, rows)))
    values = {
        "session": pa.array(["2026-11-21"] * rows),
        "session_sequence": pa.array(offsets + 1),
        "exchange": pa.array(["BINANCE"] * rows),
        "symbol": pa.array(names).take(pa.array(codes)),
        "asset_class": pa.array(["crypto"] * rows),
        "event_time_ns": pa.array(times_ns),
        "receive_time_ns": pa.array(times_ns + 1_500_000),
        "source_sequence": pa.array(offsets + 5_000_000),
        "trade_id": pa.array((offsets + 5_000_000).astype(str)),
        "price": decimals(cents, 2),
        "quantity": decimals(quantities, 5),
        "side": sides,
        "venue": pa.nulls(rows, pa.string()),
        "conditions": pa.nulls(rows, pa.string()),
        "vendor_data": pa.array([[("m", "true")]] * rows, pa.map_(pa.string(), pa.string())),
        "topic": pa.array(["market.crypto.trades"] * rows),
        "kafka_partition": pa.array(np.zeros(rows, np.int32)),
        "kafka_offset": pa.array(offsets),
        "schema_id": pa.array(np.ones(rows, np.int32)),
        "event_time": pa.array(times_ns // 1_000).cast(TIMESTAMP_TYPE),
        "receive_time": pa.array((times_ns + 1_500_000) // 1_000).cast(TIMESTAMP_TYPE),
        "sequence_event": pa.array(["IN_ORDER"] * rows),
        "quality_flags": pa.array(np.zeros(rows, np.int32)),
    }
    schema = table_schema(TRADE)
    columns, fields = [], []
    for field in schema:
        column = values[field.name].cast(field.type)
        if field.name in _ENCODED:
            column = column.dictionary_encode()
        columns.append(column)
        fields.append(field.with_type(column.type))
    return pa.table(columns, schema=pa.schema(fields))
