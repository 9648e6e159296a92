"""Texts that files give for numbers, and which of them a record can hold exactly."""

import re

from k2.records.definition import DECIMAL_PRECISION, DECIMAL_SCALE

LARGEST_LONG = 2**63 - 1
DECIMAL_RULE = f"at most {DECIMAL_PRECISION - DECIMAL_SCALE} digits before and {DECIMAL_SCALE} after the point"

is_decimal = re.compile(
    rf"-?[0-9]{{1,{DECIMAL_PRECISION - DECIMAL_SCALE}}}(?:\.[0-9]{{1,{DECIMAL_SCALE}}}0*)?"
).fullmatch
"""Whether a text is a number that the decimals of a record hold exactly; without exponent, sign or padding."""
