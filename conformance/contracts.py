"""What records must fulfil, declared a second time: pandera contracts over Arrow tables.

K2 validates batches with rules of its own while it ingests (k2/records/validation.py; docs/decisions/0008 says why).
These contracts are for tables and batches at rest. They are written apart from the rules, from docs/records.md, and
tests hold both against each other row by row. Imports nothing of K2.

    broken_rules("quotes", table)      row numbers by the name of the rule that these rows break
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandera.pyarrow as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

EXCHANGES = ("ASX", "BINANCE", "NASDAQ", "NYSE")
_SECOND_NS, _DAY_NS = 10**9, 86_400 * 10**9
_YEAR_2000_NS, _YEAR_2100_NS = 946_684_800 * _SECOND_NS, 4_102_444_800 * _SECOND_NS
# Printed, at most 128 characters, and nothing that controls or formats.
_NAME = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{0,128}$"
_ZERO = Decimal(0)

Holds = Callable[[pa.Table], pa.ChunkedArray]
"""Whether each row fulfils a rule; null where nothing can be said, which is fulfilment."""


def contract(data_type: str, exchanges: Sequence[str] = EXCHANGES) -> pandera.DataFrameSchema:
    """The contract of trades, quotes or reference_data; its checks have the names of the rules.

    Args:
        data_type: whose.
        exchanges: the codes that are known.
    """
    rules = {**_common(exchanges), **_OWN[data_type]}
    return pandera.DataFrameSchema(checks=[_check(name, holds) for name, holds in rules.items()], name=data_type)


def broken_rules(data_type: str, table: pa.Table, exchanges: Sequence[str] = EXCHANGES) -> dict[str, set[int]]:
    """Row numbers by the name of the rule that these rows break; nothing for what is fulfilled.

    Args:
        data_type: trades, quotes or reference_data.
        table: the fields of the record type, text plain or as dictionaries; more columns are not looked at.
        exchanges: the codes that are known.

    Raises:
        RuntimeError: a check could not be made.
    """
    if not table.num_rows:
        return {}
    plain = pa.table({name: _plain(table[name]) for name in table.column_names if name != "vendor_data"})
    try:
        contract(data_type, exchanges).validate(plain, lazy=True)
    except SchemaErrors as errors:
        found: dict[str, set[int]] = {}
        for case in errors.failure_cases.to_pylist():
            if case["index"] is None:
                # pandera takes a check that crashed for one that failed.
                raise RuntimeError(f"{data_type}: {case['check']}: {case['failure_case']}") from errors
            found.setdefault(case["check"], set()).add(case["index"])
        return found
    return {}


def _check(name: str, holds: Holds) -> Any:
    return pandera.Check(lambda data: pc.fill_null(holds(data.table), True), name=name, native=True)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _common(exchanges: Sequence[str]) -> Mapping[str, Holds]:
    known = pa.array(exchanges, pa.string())
    return {
        "empty_symbol": lambda t: pc.not_equal(t["symbol"], ""),
        "unusable_symbol": lambda t: _is_name(t["symbol"]),
        "unusable_session": lambda t: pc.and_(pc.not_equal(t["session"], ""), _is_name(t["session"])),
        "unknown_exchange": lambda t: pc.is_in(t["exchange"], value_set=known),
        "event_time_out_of_range": lambda t: pc.and_(_in_range(t["event_time_ns"]), _in_range(t["receive_time_ns"])),
        "event_time_in_future": lambda t: _ahead_at_most(t, _DAY_NS),
        "event_after_receipt": lambda t: _ahead_at_most(t, 5 * _SECOND_NS),
        "bad_session_sequence": lambda t: pc.greater(t["session_sequence"], 0),
    }


def _is_name(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.match_substring_regex(column, _NAME)


def _in_range(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(column, _YEAR_2000_NS), pc.less(column, _YEAR_2100_NS))


def _ahead_at_most(table: pa.Table, limit_ns: int) -> pa.ChunkedArray:
    # In decimals, where no difference of two times is too large. A receipt out of range counts as the end of the range.
    event, receive = (table[name].cast(pa.decimal128(19, 0)) for name in ("event_time_ns", "receive_time_ns"))
    first, last = (pa.scalar(Decimal(bound), receive.type) for bound in (_YEAR_2000_NS, _YEAR_2100_NS - 1))
    receive = pc.if_else(pc.less(receive, first), first, pc.if_else(pc.greater(receive, last), last, receive))
    return pc.less_equal(pc.subtract(event, receive), pa.scalar(Decimal(limit_ns), receive.type))


def _positive(name: str) -> Holds:
    return lambda t: pc.greater(t[name], pa.scalar(_ZERO, t[name].type))


def _not_negative(name: str) -> Holds:
    return lambda t: pc.greater_equal(t[name], pa.scalar(_ZERO, t[name].type))


def _uncrossed(table: pa.Table) -> pa.ChunkedArray:
    bid, ask = table["bid_price"], table["ask_price"]
    return pc.or_kleene(pc.less_equal(bid, ask), pc.less_equal(ask, pa.scalar(_ZERO, ask.type)))


def _no_zero(table: pa.Table) -> pa.ChunkedArray:
    sides = [
        pc.fill_null(pc.not_equal(table[name], pa.scalar(_ZERO, table[name].type)), True)
        for name in ("bid_price", "ask_price")
    ]
    return pc.and_(*sides)


def _whole_sides(table: pa.Table) -> pa.ChunkedArray:
    sides = [pc.equal(table[f"{side}_price"].is_null(), table[f"{side}_quantity"].is_null()) for side in ("bid", "ask")]
    return pc.and_(*sides)


_OWN: Mapping[str, Mapping[str, Holds]] = {
    "trades": {"price_not_positive": _positive("price"), "quantity_not_positive": _positive("quantity")},
    "quotes": {
        **{
            f"{name}_negative": _not_negative(name)
            for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
        },
        "crossed_quote": _uncrossed,
        "zero_price": _no_zero,
        "half_a_side": _whole_sides,
    },
    "reference_data": {
        "tick_size_not_positive": _positive("tick_size"),
        "lot_size_not_positive": _positive("lot_size"),
    },
}
