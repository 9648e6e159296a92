"""Whether exchanges trade; the moments are those at which a calendar's edge lies."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from k2.observability.market_hours import is_market_open, markets
from k2.records.definition import EXCHANGES

SYDNEY, NEW_YORK, UTC = ZoneInfo("Australia/Sydney"), ZoneInfo("America/New_York"), ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-20 09:59:59", False),
        ("2026-11-20 10:00:00", True),
        ("2026-11-20 15:59:59", True),
        ("2026-11-20 16:00:00", False),
        ("2026-11-21 12:00:00", False),  # Saturday
        ("2026-06-08 12:00:00", False),  # King's Birthday
        ("2026-12-24 14:09:59", True),
        ("2026-12-24 14:10:00", False),  # closes early
        ("2026-12-28 12:00:00", False),  # Boxing Day, moved
    ],
)
def test_the_asx_trades_by_the_clock_of_sydney(moment: str, is_open: bool) -> None:
    assert is_market_open("ASX", at(moment, SYDNEY)) is is_open


def test_daylight_saving_moves_the_session_in_utc() -> None:
    assert is_market_open("ASX", at("2026-11-19 23:30:00", UTC)) is True
    assert is_market_open("ASX", at("2026-07-19 23:30:00", UTC)) is False
    assert is_market_open("ASX", at("2026-07-20 00:30:00", UTC)) is True


@pytest.mark.parametrize("exchange", ["NYSE", "NASDAQ"])
def test_new_york_has_its_own_days(exchange: str) -> None:
    assert is_market_open(exchange, at("2026-11-27 12:59:59", NEW_YORK)) is True
    assert is_market_open(exchange, at("2026-11-27 13:00:00", NEW_YORK)) is False
    assert is_market_open(exchange, at("2026-11-26 12:00:00", NEW_YORK)) is False


def test_binance_never_closes() -> None:
    assert is_market_open("BINANCE", at("2026-12-25 03:00:00", UTC)) is True


def test_what_is_not_known_is_not_guessed() -> None:
    assert is_market_open("XETRA", at("2026-11-20 12:00:00", UTC)) is None
    assert is_market_open("ASX", at("2031-01-02 12:00:00", SYDNEY)) is None
    assert markets(at("2031-01-02 12:00:00", UTC)) == {"BINANCE": True}


def test_every_known_exchange_has_hours() -> None:
    assert markets(at("2026-11-21 12:00:00", UTC)) == dict.fromkeys(EXCHANGES, False) | {"BINANCE": True}
