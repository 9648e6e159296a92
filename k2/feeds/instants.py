"""Times as text, to the nanosecond: no float and no rounding, and no guess about which time zone was meant."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from k2.feeds.line_file import BadLineError
from k2.feeds.values import LARGEST_LONG

NS_PER_SECOND = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_text_parts = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII
).fullmatch
_is_whole_number = re.compile(r"-?[0-9]{1,19}", re.ASCII).fullmatch

InstantReader = Callable[[str], int]
"""Nanoseconds since the epoch, UTC, of a text; BadLineError("bad_time") if it is none."""


def number_reader(ns_per_unit: int) -> InstantReader:
    """Reads whole numbers of a unit since the epoch."""

    def read(text: str) -> int:
        if not _is_whole_number(text) or not -LARGEST_LONG <= (instant_ns := int(text) * ns_per_unit) <= LARGEST_LONG:
            raise BadLineError("bad_time", f"{text!r:.40} is not a whole number that fits 64 bits in ns")
        return instant_ns

    return read


def text_reader(time_zone: ZoneInfo | None) -> InstantReader:
    """Reads ISO 8601 dates and times, with up to nine digits after the second.

    Args:
        time_zone: of texts that name no offset; None refuses those.
    """

    @lru_cache(maxsize=1_024)
    def second(date: str, time: str, offset: str) -> int:
        local = datetime.fromisoformat(f"{date}T{time}{offset}")
        if local.tzinfo is None:
            local = _placed(local, time_zone)
        return (local - _EPOCH) // timedelta(seconds=1)

    def read(text: str) -> int:
        parts = _text_parts(text)
        if parts is None:
            raise BadLineError("bad_time", f"{text!r:.40} is not a time such as 2024-08-09T10:00:00.123456789+10:00")
        date, time, fraction, offset = parts.groups(default="")
        try:
            instant_ns = second(date, time or "00:00:00", offset) * NS_PER_SECOND + int(fraction.ljust(9, "0"))
        except BadLineError:
            raise
        except ValueError as error:
            raise BadLineError("bad_time", f"{text!r:.40} is no time: {error}") from error
        if not -LARGEST_LONG <= instant_ns <= LARGEST_LONG:
            raise BadLineError("bad_time", f"{text!r:.40} does not fit 64 bits in ns")
        return instant_ns

    return read


def _placed(local: datetime, time_zone: ZoneInfo | None) -> datetime:
    """A wall clock's time in its zone, unless the clock showed it twice or never."""
    if time_zone is None:
        raise BadLineError("bad_time", f"{local.isoformat()} names no offset from UTC, and no time zone was given")
    first, second = (local.replace(tzinfo=time_zone, fold=fold).utcoffset() for fold in (0, 1))
    if first != second:
        reason = f"{local.isoformat()} came twice or never in {time_zone.key}, where the clocks were changed"
        raise BadLineError("ambiguous_time", reason)
    return local.replace(tzinfo=time_zone)
