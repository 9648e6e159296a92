"""Instruments of the synthetic exchange."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.feeds.instruments import decimal_text, instrument


@pytest.mark.parametrize(
    ("steps", "decimals", "text"),
    [(0, 0, "0"), (7, 0, "7"), (0, 2, "0.00"), (5, 2, "0.05"), (6168599, 2, "61685.99"), (6800, 10, "0.0000006800")],
)
def test_steps_are_written_with_all_their_decimals(steps: int, decimals: int, text: str) -> None:
    assert decimal_text(steps, decimals) == text


@given(steps=st.integers(0, 10**28 - 1), decimals=st.integers(0, 10))
def test_decimal_text_is_exact(steps: int, decimals: int) -> None:
    assert (
        Decimal(decimal_text(steps, decimals)).as_integer_ratio() == Decimal(steps).scaleb(-decimals).as_integer_ratio()
    )


def test_an_unknown_symbol_always_trades_alike_and_unlike_others() -> None:
    assert instrument("NEWUSDT") == instrument("NEWUSDT")
    assert instrument("NEWUSDT").symbol == "NEWUSDT"
    assert len({instrument(f"SYMBOL{number}").start_ticks for number in range(100)}) > 90
