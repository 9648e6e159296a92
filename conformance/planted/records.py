"""Records of two data types by the column: what a feed emits, with what an exchange really does in it.

Two exchanges, four keys, two sessions. Binance numbers its trades: the first key repeats a number now and then and
swaps two neighbours; the second begins anew in the middle. All comes from one seed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TRADES, QUOTES = "trades", "quotes"
DATA_TYPES = (TRADES, QUOTES)
EXCHANGES = np.array(["BINANCE", "BINANCE", "ASX", "ASX"])
SYMBOLS = np.array(["BTCUSDT", "ETHUSDT", "BHP", "RIO"])
ASSET_CLASSES = np.array(["crypto", "crypto", "equities", "equities"])
START_NS = 1_760_000_000_000_000_000
STEP_NS = 2_000_000
DECIMAL = pa.decimal128(28, 10)
_UNIT = 10**10
_REPEATS_EVERY = 20
_REPEATS_FROM = 5
_SWAPS_FROM = 12
MAP = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Records in the order they were emitted.

    Attributes:
        data_type: trades or quotes.
        table: the record's fields.
        key: for each row, which of the four keys.
        repeated: rows whose source number is that of their key's row before.
    """

    data_type: str
    table: pa.Table
    key: IntArray
    repeated: BoolArray


def make_records(data_type: str, count: int, random: np.random.Generator, plain: BoolArray) -> Records:
    """`count` records; source numbers are repeated only where the row and its predecessor are `plain`."""
    key = random.integers(0, len(SYMBOLS), count)
    noon = np.arange(count) >= count * 3 // 5
    event_time_ns = START_NS + np.arange(count) * STEP_NS + random.integers(0, STEP_NS, count)
    numbers, repeated = _source_numbers(key, noon, plain)
    numbered = (key < 2) & (data_type == TRADES)
    columns = {
        "session": pa.array(np.where(noon, "2025-10-09-noon", "2025-10-09-morning")),
        "session_sequence": running_count(key * 2 + noon) + 1,
        "exchange": pa.array(EXCHANGES[key]),
        "symbol": pa.array(SYMBOLS[key]),
        "asset_class": pa.array(ASSET_CLASSES[key]),
        "event_time_ns": event_time_ns,
        "receive_time_ns": event_time_ns + random.integers(100_000, 5_000_000, count),
        "source_sequence": pa.array(numbers, mask=~numbered),
        **(_trade_fields if data_type == TRADES else _quote_fields)(count, random),
        "venue": pa.array(np.where(key == 3, "CXA", "ASX"), mask=key < 2),
        "conditions": pa.array(np.full(count, "XT"), mask=random.random(count) < 0.8),
        "vendor_data": _vendor_data(key, random),
    }
    return Records(data_type, pa.table(columns), key, repeated & numbered)


def running_count(codes: IntArray) -> IntArray:
    """For each row, how many rows before it have its code."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(codes)])
    counted = np.empty(len(codes), dtype=np.int64)
    counted[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    return counted


def decimals(unscaled: IntArray, mask: BoolArray | None = None) -> pa.Array:
    """Exact decimals from whole numbers of ten-billionths."""
    halves = np.stack([unscaled, unscaled >> 63], axis=1)
    column = pa.Array.from_buffers(DECIMAL, len(unscaled), [None, pa.py_buffer(np.ascontiguousarray(halves))])
    return column if mask is None else pa.compute.if_else(pa.array(mask), pa.scalar(None, DECIMAL), column)


def _source_numbers(key: IntArray, noon: BoolArray, plain: BoolArray) -> tuple[IntArray, BoolArray]:
    position = running_count(key)
    numbers = 50_000 * (key + 1) + position
    anew = noon & (key == 1)
    numbers[anew] = running_count(key[anew]) + 1
    first_key = np.flatnonzero(key == 0)
    repeated = np.zeros(len(key), dtype=np.bool_)
    at = np.arange(_REPEATS_FROM, len(first_key), _REPEATS_EVERY)
    at = at[plain[first_key[at]] & plain[first_key[at - 1]]]
    repeated[first_key[at]] = True
    numbers[first_key[at]] -= 1
    at = np.arange(_SWAPS_FROM, len(first_key) - 1, _REPEATS_EVERY)
    one, other = first_key[at], first_key[at + 1]
    numbers[one], numbers[other] = numbers[other].copy(), numbers[one].copy()
    return numbers, repeated


def _trade_fields(count: int, random: np.random.Generator) -> dict[str, pa.Array]:
    return {
        "trade_id": pa.array(np.char.add("T", np.arange(count).astype(np.str_))),
        "price": decimals(random.integers(1, 9_000_000, count) * (_UNIT // 100)),
        "quantity": decimals(random.integers(1, 10**14, count)),
        "side": pa.array(np.array(["BUY", "SELL", "UNKNOWN"])[random.integers(0, 3, count)]),
    }


def _quote_fields(count: int, random: np.random.Generator) -> dict[str, pa.Array]:
    bid = random.integers(100, 9_000_000, count) * (_UNIT // 100)
    one_sided = random.random(count) < 0.05
    return {
        "quote_id": pa.array(np.arange(count).astype(np.str_)),
        "bid_price": decimals(bid, one_sided),
        "bid_quantity": decimals(random.integers(1, 10**14, count), one_sided),
        "ask_price": decimals(bid + _UNIT // 100),
        "ask_quantity": decimals(random.integers(1, 10**14, count)),
    }


def _vendor_data(key: IntArray, random: np.random.Generator) -> pa.Array:
    """Binance rows have two entries, ASX rows none."""
    binance = key < 2
    offsets = np.r_[0, np.cumsum(np.where(binance, 2, 0))].astype(np.int32)
    entries = int(binance.sum())
    makers = np.array(["true", "false"])[random.integers(0, 2, entries)]
    matches = random.integers(1, 10**9, entries).astype(np.str_)
    keys = np.tile(np.array(["buyer_is_maker", "match"]), entries)
    values = np.empty(2 * entries, dtype=object)
    values[0::2], values[1::2] = makers, matches
    return pa.MapArray.from_arrays(pa.array(offsets), pa.array(keys, pa.string()), pa.array(values, pa.string()))
