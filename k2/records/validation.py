"""What a decoded record must fulfil. Each rule is data: a rejected row becomes a dead letter, a flagged row is kept.

Rules look at whole columns; none looks at one row at a time. They ask no clock: what a record is judged to be must be
the same whenever the log is read again. docs/records.md lists them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntFlag

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2.records.definition import EXCHANGES, RecordType
from k2.records.schemas import DECIMAL_TYPE

EARLIEST_TIME_NS = 946_684_800 * 10**9
"""2000-01-01: earlier means a wrong unit, and would make a partition a day back to 1970."""
LATEST_TIME_NS = 4_102_444_800 * 10**9 - 1
"""The end of 2099: later means a wrong unit too."""
LATEST_EVENT_AFTER_RECEIPT_NS = 86_400 * 10**9
CLOCKS_APART_NS = 5 * 10**9
MAXIMUM_NAME_CHARACTERS = 128
"""Of a symbol and of a session; the API takes no longer ones."""

# Control and formatting characters, among them NUL, line ends and what turns the direction of writing.
_UNPRINTABLE = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"


class QualityFlag(IntFlag):
    """Bits of the quality_flags column."""

    LATE = 1
    CROSSED_QUOTE = 2
    UNKNOWN_WHETHER_SEEN = 4
    EVENT_AFTER_RECEIPT = 8
    ZERO_PRICE = 16
    HALF_A_SIDE = 32


NO_FLAG = QualityFlag(0)


class Action(Enum):
    """What happens to a row that breaks a rule."""

    REJECT = "reject"
    FLAG = "flag"


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `broken` answers, for each row of a batch, whether it is broken."""

    name: str
    message: str
    action: Action
    broken: Callable[[pa.RecordBatch], Mask]
    flag: QualityFlag = NO_FLAG


def rules_for(record_type: RecordType, exchanges: Sequence[str] = EXCHANGES) -> tuple[Rule, ...]:
    """The rules of a record type, in the order they are reported.

    Args:
        record_type: what the batches hold.
        exchanges: the codes that are known.
    """
    return (*_common_rules(exchanges), *_OWN_RULES[record_type.data_type])


def _common_rules(exchanges: Sequence[str]) -> tuple[Rule, ...]:
    known = pa.array(exchanges, pa.string())
    return (
        _reject("empty_symbol", "the symbol is empty", lambda b: _where_value(b, "symbol", _is_empty)),
        _reject(
            "unusable_symbol",
            f"the symbol has over {MAXIMUM_NAME_CHARACTERS} characters, or one that is not printable",
            lambda batch: _where_value(batch, "symbol", _is_unusable),
        ),
        _reject(
            "unusable_session",
            f"the session is empty, has over {MAXIMUM_NAME_CHARACTERS} characters, or one that is not printable",
            lambda batch: _where_value(batch, "session", lambda text: pc.or_(_is_empty(text), _is_unusable(text))),
        ),
        _reject(
            "unknown_exchange",
            "the exchange is none of those the settings know",
            lambda batch: _where_value(batch, "exchange", lambda values: pc.invert(pc.is_in(values, known))),
        ),
        _reject("event_time_out_of_range", "event or receive time before 2000 or after 2099", _out_of_range),
        _reject(
            "event_time_in_future",
            "event time over a day after receipt",
            lambda batch: _event_after_receipt(batch, LATEST_EVENT_AFTER_RECEIPT_NS),
        ),
        _reject("bad_session_sequence", "session_sequence is not positive", _not_positive_sequence),
        _flag(
            QualityFlag.EVENT_AFTER_RECEIPT,
            f"event time over {CLOCKS_APART_NS // 10**9} s after receipt: the clocks are apart",
            lambda batch: _event_after_receipt(batch, CLOCKS_APART_NS),
        ),
    )


def _reject(name: str, message: str, broken: Callable[[pa.RecordBatch], Mask]) -> Rule:
    return Rule(name, message, Action.REJECT, broken)


def _flag(flag: QualityFlag, message: str, broken: Callable[[pa.RecordBatch], Mask]) -> Rule:
    return Rule(str(flag.name).lower(), message, Action.FLAG, broken, flag)


def _not_positive(column: str) -> Rule:
    return _reject(
        f"{column}_not_positive",
        f"{column} is zero or below",
        lambda batch: _mask(pc.less_equal(batch.column(column), _ZERO)),
    )


def _negative(column: str) -> Rule:
    return _reject(
        f"{column}_negative", f"{column} is below zero", lambda batch: _mask(pc.less(batch.column(column), _ZERO))
    )


def _out_of_range(batch: pa.RecordBatch) -> Mask:
    times = [batch.column(name).to_numpy() for name in ("event_time_ns", "receive_time_ns")]
    masks = [(time < EARLIEST_TIME_NS) | (time > LATEST_TIME_NS) for time in times]
    return np.asarray(masks[0] | masks[1])


def _event_after_receipt(batch: pa.RecordBatch, by_more_than_ns: int) -> Mask:
    event = batch.column("event_time_ns").to_numpy()
    receive = batch.column("receive_time_ns").to_numpy()
    # Bounded first, so that nothing wraps around: what lies outside is out of range anyway.
    return np.asarray(event > np.clip(receive, EARLIEST_TIME_NS, LATEST_TIME_NS) + by_more_than_ns)


def _not_positive_sequence(batch: pa.RecordBatch) -> Mask:
    return np.asarray(batch.column("session_sequence").to_numpy() <= 0)


def _crossed(batch: pa.RecordBatch) -> Mask:
    bid, ask = batch.column("bid_price"), batch.column("ask_price")
    # An ask of zero is no ask.
    return _mask(pc.and_(pc.greater(bid, ask), pc.greater(ask, _ZERO)))


def _zero_price(batch: pa.RecordBatch) -> Mask:
    return _mask(pc.equal(batch.column("bid_price"), _ZERO)) | _mask(pc.equal(batch.column("ask_price"), _ZERO))


def _half_a_side(batch: pa.RecordBatch) -> Mask:
    sides = [(batch.column(f"{side}_price"), batch.column(f"{side}_quantity")) for side in ("bid", "ask")]
    halves = [_is_null(price) != _is_null(quantity) for price, quantity in sides]
    return np.asarray(halves[0] | halves[1])


def _where_value(batch: pa.RecordBatch, name: str, test: Callable[[pa.Array], pa.Array]) -> Mask:
    """The rows whose text fails a test; a dictionary's values are tested once each."""
    column = batch.column(name)
    if not pa.types.is_dictionary(column.type):
        return _mask(test(column))
    failed = _mask(test(column.dictionary))
    if not failed.any():
        return np.zeros(len(column), np.bool_)
    return np.asarray(failed[column.indices.to_numpy()])


def _is_empty(values: pa.Array) -> pa.Array:
    return pc.equal(values, "")


def _is_unusable(values: pa.Array) -> pa.Array:
    too_long = pc.greater(pc.utf8_length(values), MAXIMUM_NAME_CHARACTERS)
    return pc.or_(too_long, pc.match_substring_regex(values, _UNPRINTABLE))


def _is_null(column: pa.Array) -> Mask:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _mask(column: pa.Array) -> Mask:
    filled = pc.fill_null(column, False) if column.null_count else column
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.bool_)


_ZERO = pa.scalar(Decimal(0), DECIMAL_TYPE)
_OWN_RULES: dict[str, tuple[Rule, ...]] = {
    "trades": (_not_positive("price"), _not_positive("quantity")),
    "quotes": (
        *(_negative(f"{side}_{what}") for side in ("bid", "ask") for what in ("price", "quantity")),
        _flag(QualityFlag.CROSSED_QUOTE, "the bid is above the ask", _crossed),
        _flag(QualityFlag.ZERO_PRICE, "a price is zero: a side without a quote is null", _zero_price),
        _flag(QualityFlag.HALF_A_SIDE, "a side has a price without a quantity, or the reverse", _half_a_side),
    ),
    "reference_data": (_not_positive("tick_size"), _not_positive("lot_size")),
}
