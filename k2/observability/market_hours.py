"""Whether exchanges trade at a moment, by market_hours.toml: silence is only news while a market is open.

What cannot be told (an exchange without hours, a day the file does not know) is left out rather than guessed, and an
alert takes a market of which nothing is said for open.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class TradingHours:
    """When an exchange trades, by its own clock.

    Attributes:
        zone: its clock's.
        opens: first moment of continuous trading.
        closes: first moment after it.
        closes_early: the same on `early_close_days`.
        known_from: first day the lists speak of.
        known_until: last day the lists speak of.
        closed_days: weekdays without trading.
        early_close_days: days with a shorter session.
    """

    zone: ZoneInfo
    opens: time
    closes: time
    closes_early: time
    known_from: date
    known_until: date
    closed_days: frozenset[date]
    early_close_days: frozenset[date]

    def is_open(self, wall_ns: int) -> bool | None:
        """Whether it trades at a moment, ns since the Unix epoch, UTC; None where that is not known."""
        local = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).astimezone(self.zone)
        day = local.date()
        if not self.known_from <= day <= self.known_until:
            return None
        if day.weekday() >= _SATURDAY or day in self.closed_days:
            return False
        closes = self.closes_early if day in self.early_close_days else self.closes
        return self.opens <= local.time() < closes


def is_market_open(exchange: str, wall_ns: int) -> bool | None:
    """Whether an exchange trades at a moment, ns since the Unix epoch, UTC; None where that is not known."""
    hours = _all_hours().get(exchange)
    return hours.is_open(wall_ns) if isinstance(hours, TradingHours) else hours


def markets(wall_ns: int) -> dict[str, bool]:
    """Every exchange of which it is known whether it trades at a moment, ns since the Unix epoch, UTC."""
    known = {exchange: is_market_open(exchange, wall_ns) for exchange in _all_hours()}
    return {exchange: is_open for exchange, is_open in known.items() if is_open is not None}


@cache
def _all_hours() -> Mapping[str, TradingHours | bool]:
    """Hours by exchange code; True for one that never closes."""
    document = tomllib.loads((files("k2.observability") / "market_hours.toml").read_text(encoding="utf-8"))
    found: dict[str, TradingHours | bool] = {}
    for exchange, table in document.items():
        if table.get("is_always_open"):
            found[exchange] = True
            continue
        table = document[table["same_as"]] if "same_as" in table else table
        found[exchange] = TradingHours(
            zone=ZoneInfo(table["time_zone"]),
            opens=table["opens"],
            closes=table["closes"],
            closes_early=table["closes_early"],
            known_from=table["known_from"],
            known_until=table["known_until"],
            closed_days=frozenset(table["closed_days"]),
            early_close_days=frozenset(table["early_close_days"]),
        )
    return found
