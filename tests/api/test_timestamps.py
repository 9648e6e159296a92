"""Times as clients write them, exact to the nanosecond."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.api.timestamps import parse_time_ns


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-11-21T09:45:00.5Z", 1_795_254_300_500_000_000),
        ("2026-11-21t09:45:00z", 1_795_254_300_000_000_000),
        ("2026-11-21 09:45:00+00:00", 1_795_254_300_000_000_000),
        ("2026-11-21T20:45:00+11:00", 1_795_254_300_000_000_000),
        ("2026-11-21T04:15:00-05:30", 1_795_254_300_000_000_000),
        ("1795254300123456789", 1_795_254_300_123_456_789),
        ("-1", -1),
        ("2026-11-21T09:45:60Z", 1_795_254_360_000_000_000),
        ("2026-11-21T09:45:00.0000000001Z", 1_795_254_300_000_000_001),
        ("2026-11-21T09:45:00.9999999990000Z", 1_795_254_300_999_999_999),
        ("9999-01-01T00:00:00Z", 2**63 - 1),
        ("0001-01-01T00:00:00+23:59", -(2**63)),
        (1_795_254_300_123_456_789, 1_795_254_300_123_456_789),
    ],
)
def test_a_time_is_read_exactly(value: object, time_ns: int) -> None:
    assert parse_time_ns(value) == time_ns


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2026-11-21",
        "2026-11-21T09:45:00",
        "2026-11-21T09:45Z",
        "2026-11-21T09:45:00 00:00",
        "2026-13-21T09:45:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T09:45:61Z",
        "2026-11-21T09:45:00.Z",
        "2026-11-21T09:45:00+01:60",
        "2026-11-21T09:45:00+25:00",
        "1e18",
        "1.5",
        "٣",
        1.5,
        True,
        None,
        [],
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a time such as 2026-11-21T09:45:00Z"):
        parse_time_ns(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, str(2**63)])
def test_a_number_beyond_64_bits_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        parse_time_ns(value)


@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(0, 999))  # noqa: DTZ001
def test_every_nanosecond_survives(moment: datetime, nanoseconds: int) -> None:
    exact = moment.replace(tzinfo=UTC)
    text = f"{exact:%Y-%m-%dT%H:%M:%S}.{exact.microsecond:06}{nanoseconds:03}Z"
    since_epoch = exact - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (since_epoch.days * 86_400 + since_epoch.seconds) * 10**6 + since_epoch.microseconds
    assert parse_time_ns(text) == microseconds * 1_000 + nanoseconds
