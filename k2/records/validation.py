"""What a decoded record must fulfil. Each rule is data: a rejected row becomes a dead letter, a flagged row is kept.

Rules look at whole columns; none looks at one row at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntFlag

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2.records.definition import RecordType
from k2.records.schemas import DECIMAL_TYPE

EARLIEST_EVENT_TIME_NS = 946_684_800 * 10**9
"""2000-01-01: earlier means a wrong unit, and would make a partition a day back to 1970."""
LATEST_EVENT_AFTER_RECEIPT_NS = 86_400 * 10**9


class QualityFlag(IntFlag):
    """Bits of the quality_flags column."""

    LATE = 1
    CROSSED_QUOTE = 2
    UNKNOWN_WHETHER_SEEN = 4


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


def rules_for(record_type: RecordType) -> tuple[Rule, ...]:
    """The rules of a record type, in the order they are reported."""
    common = (
        Rule("empty_symbol", "the symbol is empty", Action.REJECT, lambda b: _mask(pc.equal(b.column("symbol"), ""))),
        Rule("event_time_out_of_range", "event time before 2000 or over a day after receipt", Action.REJECT, _bad_time),
        Rule("bad_session_sequence", "session_sequence is not positive", Action.REJECT, _not_positive_sequence),
    )
    if record_type.data_type == "trades":
        return (
            *common,
            _not_positive("price", zero_allowed=False),
            _not_positive("quantity", zero_allowed=False),
        )
    return (
        *common,
        *(
            _not_positive(f"{side}_{what}", zero_allowed=True)
            for side in ("bid", "ask")
            for what in ("price", "quantity")
        ),
        Rule(
            "crossed_quote",
            "the bid is above the ask",
            Action.FLAG,
            lambda b: _mask(pc.greater(b.column("bid_price"), b.column("ask_price"))),
            QualityFlag.CROSSED_QUOTE,
        ),
    )


def _not_positive(column: str, *, zero_allowed: bool) -> Rule:
    compare = pc.less if zero_allowed else pc.less_equal
    what = "negative" if zero_allowed else "not positive"
    zero = pa.scalar(Decimal(0), DECIMAL_TYPE)
    return Rule(
        f"{column}_{what.replace(' ', '_')}",
        f"{column} is {what}",
        Action.REJECT,
        lambda batch: _mask(compare(batch.column(column), zero)),
    )


def _bad_time(batch: pa.RecordBatch) -> Mask:
    event = batch.column("event_time_ns").to_numpy()
    receive = batch.column("receive_time_ns").to_numpy()
    implausible_receipt = receive < EARLIEST_EVENT_TIME_NS
    too_late = event - LATEST_EVENT_AFTER_RECEIPT_NS > receive
    return np.asarray((event < EARLIEST_EVENT_TIME_NS) | implausible_receipt | too_late)


def _not_positive_sequence(batch: pa.RecordBatch) -> Mask:
    return np.asarray(batch.column("session_sequence").to_numpy() <= 0)


def _mask(column: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=np.bool_)
