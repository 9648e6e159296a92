"""Times as clients write them: RFC 3339, or nanoseconds since the epoch. Exact to the nanosecond.

They bound times of events, which are whole nanoseconds that 64 bits hold. So finer decimals are rounded up, and a time
before 1677 or after 2262 becomes the earliest or latest there is: neither changes which events lie before it.
"""

import re
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS_A_SECOND = 10**9
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1
_RFC_3339 = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,64}))?"
    r"(?P<offset>[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_LEAP_SECOND, _MOST_HOURS, _MOST_MINUTES = 60, 23, 59
_EXPECTED = "a time such as 2026-11-21T09:45:00Z (write + as %2B in a URL) or nanoseconds since the epoch is expected"


def parse_time_ns(value: object) -> int:
    """Nanoseconds since the Unix epoch, UTC.

    Raises:
        ValueError: not a time, or a number that 64 bits cannot hold.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_EXPECTED)
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        return min(max(_parse_rfc_3339(value), EARLIEST_NS), LATEST_NS)
    time_ns = int(value)
    if not EARLIEST_NS <= time_ns <= LATEST_NS:
        raise ValueError("the time does not fit 64 bits of nanoseconds")
    return time_ns


def _parse_rfc_3339(text: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    second = int(match["second"])
    try:
        minute = datetime.fromisoformat(match["minute"].upper().replace(" ", "T"))
        hours, minutes = _offset(match["offset"])
    except ValueError as error:
        raise ValueError(_EXPECTED) from error
    # A leap second is the first one of the next minute, as it is in Unix time.
    if second > _LEAP_SECOND:
        raise ValueError(_EXPECTED)
    since_epoch = minute.replace(tzinfo=UTC) - _EPOCH
    seconds = since_epoch.days * 86_400 + since_epoch.seconds + second - hours * 3600 - minutes * 60
    fraction = match["fraction"] or "0"
    up = any(digit != "0" for digit in fraction[9:])
    return seconds * _NANOSECONDS_A_SECOND + int(fraction[:9].ljust(9, "0")) + up


def _offset(text: str) -> tuple[int, int]:
    """Signed hours and minutes that a time is ahead of UTC."""
    if text in "Zz":
        return 0, 0
    sign = -1 if text[0] == "-" else 1
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > _MOST_HOURS or minutes > _MOST_MINUTES:
        raise ValueError(text)
    return sign * hours, sign * minutes
