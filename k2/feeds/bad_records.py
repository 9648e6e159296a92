"""Records that break a rule on purpose, so that a platform can be shown refusing them. None carries a source number.

Defects:
    negative_price      price, or bid price, below zero
    negative_quantity   quantity, or ask quantity, below zero
    zero_quantity       a trade of nothing
    crossed_quote       the bid above the ask; unusual, not impossible, so a platform may keep it with a flag
    future_time         event two days after receipt
    past_time           event in 1970, as from a wrong unit
    unknown_exchange    an exchange nobody has heard of
    empty_symbol        no symbol
    float_price         a price that is no decimal; no schema can hold it, so it is refused before it is sent
    too_many_digits     a price of eleven decimals; likewise
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN_EXCHANGE = "NOWHERE"

_TWO_DAYS_NS = 2 * 86_400 * 10**9
_JUST_AFTER_1970_NS = 10**9

Change = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Defect:
    """One way to be bad: the values it puts into a good record, by data type; a type without entry cannot have it."""

    trades: Change | None = None
    quotes: Change | None = None

    def change(self, data_type: str) -> Change | None:
        """What it does to records of a data type."""
        return self.trades if data_type == "trades" else self.quotes


def _for_both(change: Change) -> Defect:
    return Defect(change, change)


DEFECTS: Mapping[str, Defect] = {
    "negative_price": Defect(lambda good: {"price": f"-{good['price']}"}, lambda _: {"bid_price": "-1"}),
    "negative_quantity": Defect(lambda good: {"quantity": f"-{good['quantity']}"}, lambda _: {"ask_quantity": "-1"}),
    "zero_quantity": Defect(trades=lambda _: {"quantity": "0"}),
    "crossed_quote": Defect(
        quotes=lambda _: {"bid_price": "2", "bid_quantity": "1", "ask_price": "1", "ask_quantity": "1"}
    ),
    "future_time": _for_both(lambda good: {"event_time_ns": good["receive_time_ns"] + _TWO_DAYS_NS}),
    "past_time": _for_both(lambda _: {"event_time_ns": _JUST_AFTER_1970_NS}),
    "unknown_exchange": _for_both(lambda _: {"exchange": UNKNOWN_EXCHANGE}),
    "empty_symbol": _for_both(lambda _: {"symbol": ""}),
    "float_price": Defect(lambda _: {"price": 0.1}, lambda _: {"bid_price": 0.1}),
    "too_many_digits": Defect(lambda _: {"price": "1.00000000001"}, lambda _: {"ask_price": "1.00000000001"}),
}
SENDABLE = tuple(name for name in DEFECTS if name not in ("float_price", "too_many_digits"))
"""Defects that a message can have; the others are refused before one is made."""


class Spoiler:
    """Takes the chosen defects in turn, so that each occurs as soon as the others have."""

    def __init__(self, chosen: tuple[str, ...]) -> None:
        self._possible = {
            data_type: [name for name in chosen if DEFECTS[name].change(data_type) is not None]
            for data_type in ("trades", "quotes")
        }
        self._turns = dict.fromkeys(self._possible, 0)

    def can_spoil(self, data_type: str) -> bool:
        """Whether a record of that data type can have one of the chosen defects."""
        return bool(self._possible[data_type])

    def spoil(self, data_type: str, good: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The next defect and the record that has it; `good` is a whole record but for its place in the session."""
        possible = self._possible[data_type]
        name = possible[self._turns[data_type] % len(possible)]
        self._turns[data_type] += 1
        change = DEFECTS[name].change(data_type)
        assert change is not None
        identifier = "trade_id" if data_type == "trades" else "quote_id"
        return name, {**good, "source_sequence": None, identifier: None, **change(good)}
