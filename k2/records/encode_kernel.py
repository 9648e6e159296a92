"""The compiled half of the batch encoder: one Arrow column after another, written behind what each message has so far.

Messages lie in one array of bytes, each with room for the longest it can become; a cursor a message says how far it has
come. Writing column by column keeps one loop for each kind of field, and a batch is small enough to stay in the cache.

It allocates nothing, and trusts its caller: columns have no nulls but where `validity` says so, and `out` has room.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from k2.records.avro_readers import COMPILER_OPTIONS, compiled

# What a column holds.
LONGS = 0
TEXTS = 1
DECIMALS = 2
MAPS = 3

# The most bytes a value can take beside its text: a long, a length, a union's branch.
LONG_BYTES = 10
LENGTH_BYTES = 5
BRANCH_BYTES = 1
# A length and sixteen bytes of two's complement.
DECIMAL_BYTES = 17

UInt8s = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Long = int | np.int64


class Texts(NamedTuple):
    """UTF-8 texts as Arrow keeps them: text i is data[offsets[i]:offsets[i + 1]]."""

    offsets: Int32s
    data: UInt8s


class ColumnValues(NamedTuple):
    """One column of a batch; what its kind does not use is empty.

    Attributes:
        kind: LONGS, TEXTS, DECIMALS or MAPS.
        nullable: whether the schema makes it a union with null, whose branch comes first.
        validity: [rows], zero for null; empty where nothing is null.
        numbers: [rows] of LONGS, [2 * rows] of DECIMALS: the low and the high half of each unscaled value.
        entry_offsets: [rows + 1] of MAPS: the entries of row i are entry_offsets[i] to entry_offsets[i + 1].
        texts: values of TEXTS, keys of MAPS.
        entry_values: values of MAPS.
    """

    kind: int
    nullable: bool
    validity: UInt8s
    numbers: Int64s
    entry_offsets: Int32s
    texts: Texts
    entry_values: Texts


WriteColumn = Callable[[UInt8s, Int64s, ColumnValues], None]


@compiled
def _write_long(out: UInt8s, position: Long, value: Long) -> Long:
    left = np.uint64((value << 1) ^ (value >> 63))
    while left > np.uint64(0x7F):
        out[position] = np.uint8(left & np.uint64(0x7F)) | np.uint8(0x80)
        left >>= np.uint64(7)
        position += 1
    out[position] = np.uint8(left)
    return position + 1


@compiled
def _write_text(out: UInt8s, position: Long, texts: Texts, number: Long) -> Long:
    first, end = np.int64(texts.offsets[number]), np.int64(texts.offsets[number + 1])
    position = _write_long(out, position, end - first)
    for at in range(first, end):
        out[position] = texts.data[at]
        position += 1
    return position


@compiled
def _write_decimal(out: UInt8s, position: Long, low: Long, high: Long) -> Long:
    """Big-endian two's complement in the bytes that the magnitude and one bit of sign take."""
    # The bits of a negative value's magnitude are those of its complement, but where it is a power of two.
    magnitude_low, magnitude_high = np.uint64(low), np.uint64(high)
    if high < 0:
        magnitude_low = ~magnitude_low + np.uint64(1)
        magnitude_high = ~magnitude_high + np.uint64(magnitude_low == 0)
    bits = 0
    while magnitude_high != 0:
        magnitude_low = (magnitude_low >> np.uint64(8)) | (magnitude_high << np.uint64(56))
        magnitude_high >>= np.uint64(8)
        bits += 8
    while magnitude_low != 0:
        magnitude_low >>= np.uint64(1)
        bits += 1
    count = (bits + 8) >> 3
    position = _write_long(out, position, count)
    for place in range(count - 1, -1, -1):
        word = low if place < 8 else high
        out[position] = np.uint8((word >> (8 * (place & 7))) & 0xFF)
        position += 1
    return position


@compiled
def _write_map(out: UInt8s, position: Long, column: ColumnValues, row: Long) -> Long:
    first, end = np.int64(column.entry_offsets[row]), np.int64(column.entry_offsets[row + 1])
    if end > first:
        position = _write_long(out, position, end - first)
        for entry in range(first, end):
            position = _write_text(out, position, column.texts, entry)
            position = _write_text(out, position, column.entry_values, entry)
    out[position] = 0
    return position + 1


def _write_column(out: UInt8s, cursors: Int64s, column: ColumnValues) -> None:
    has_nulls = column.validity.size > 0
    for row in range(cursors.size):
        position = cursors[row]
        if column.nullable:
            is_null = has_nulls and column.validity[row] == 0
            out[position] = 0 if is_null else 2
            position += 1
            if is_null:
                cursors[row] = position
                continue
        if column.kind == LONGS:
            position = _write_long(out, position, column.numbers[row])
        elif column.kind == TEXTS:
            position = _write_text(out, position, column.texts, row)
        elif column.kind == DECIMALS:
            position = _write_decimal(out, position, column.numbers[2 * row], column.numbers[2 * row + 1])
        else:
            position = _write_map(out, position, column, row)
        cursors[row] = position


def _entry_point() -> WriteColumn:
    """The one function Python calls, compiled on its first call and then kept on disk where that can be written."""
    entry_point: WriteColumn
    try:
        entry_point = numba.njit(cache=True, **COMPILER_OPTIONS)(_write_column)
    except RuntimeError:
        entry_point = numba.njit(**COMPILER_OPTIONS)(_write_column)
    return entry_point


# Write a column of every message at its cursor in `out`, and move the cursors [rows] behind it.
write_column = _entry_point()
