"""Times as clients write them: RFC 3339 with up to nine decimals, or nanoseconds since the epoch. Exact to the ns."""

import re
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS_A_SECOND = 10**9
_RFC_3339 = re.compile(
    r"(?P<seconds>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?(?P<offset>[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_EXPECTED = "a time such as 2026-11-21T09:45:00Z (write + as %2B in a URL) or nanoseconds since the epoch is expected"


def parse_time_ns(value: object) -> int:
    """Nanoseconds since the Unix epoch, UTC.

    Raises:
        ValueError: not a time, or one that 64 bits cannot hold (before 1677 or after 2262).
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_EXPECTED)
    time_ns = value if isinstance(value, int) else _parse_text(value)
    if not -(2**63) <= time_ns < 2**63:
        raise ValueError("the time does not fit 64 bits of nanoseconds")
    return time_ns


def _parse_text(text: str) -> int:
    if _INTEGER.fullmatch(text):
        return int(text)
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    offset = match["offset"].upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(match["seconds"].upper().replace(" ", "T") + offset)
    except ValueError as error:
        raise ValueError(_EXPECTED) from error
    since_epoch = moment - _EPOCH
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    return seconds * _NANOSECONDS_A_SECOND + int((match["fraction"] or "0").ljust(9, "0"))
