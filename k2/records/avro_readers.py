"""Compiled readers of single Avro values. Pure functions over bytes, the building blocks of avro_kernel.py.

A reader returns the position after what it read, or the negative verdict code of what is wrong with it.

What holds for any input, hostile ones included:
- nothing at or behind `end` influences a result, though words may be loaded from up to PADDING_BYTES - 1 behind it;
- a length is compared with the bytes left and never added to a position first, so none can overflow;
- every turn of a loop consumes a byte.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from k2.records.avro_arrays import (
    BAD_COUNT,
    BAD_UTF8,
    BAD_VARINT,
    DECIMAL_TOO_WIDE,
    EMPTY_DECIMAL,
    LIMIT_HIGH,
    LIMIT_LOW,
    NEGATIVE_LENGTH,
    OK,
    STEPS,
    TRUNCATED,
    Int32s,
    Int64s,
    Long,
    UInt8s,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Reference counting is off: each view of an array would count atomically, which made the walk thirty times slower.
# Without it the compiler also refuses whatever would allocate memory.
COMPILER_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False}
_INLINED: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True}


def compiled(function: _Function) -> _Function:
    """A function only other compiled functions call; it becomes part of them."""
    inlined: _Function = numba.njit(**COMPILER_OPTIONS, **_INLINED)(function)
    return inlined


@compiled
def load_word(data: UInt8s, position: Long) -> Long:
    """Eight bytes from `position` as a little-endian integer; compiles to one load."""
    at = np.uint64(position)
    word = np.int64(data[at])
    word |= np.int64(data[at + np.uint64(1)]) << 8
    word |= np.int64(data[at + np.uint64(2)]) << 16
    word |= np.int64(data[at + np.uint64(3)]) << 24
    word |= np.int64(data[at + np.uint64(4)]) << 32
    word |= np.int64(data[at + np.uint64(5)]) << 40
    word |= np.int64(data[at + np.uint64(6)]) << 48
    word |= np.int64(data[at + np.uint64(7)]) << 56
    return word


@compiled
def store_word(target: UInt8s, position: Long, word: Long) -> None:
    """The reverse of load_word, in one store."""
    at = np.uint64(position)
    target[at] = np.uint8(word)
    target[at + np.uint64(1)] = np.uint8(word >> 8)
    target[at + np.uint64(2)] = np.uint8(word >> 16)
    target[at + np.uint64(3)] = np.uint8(word >> 24)
    target[at + np.uint64(4)] = np.uint8(word >> 32)
    target[at + np.uint64(5)] = np.uint8(word >> 40)
    target[at + np.uint64(6)] = np.uint8(word >> 48)
    target[at + np.uint64(7)] = np.uint8(word >> 56)


@compiled
def load_big_endian_word(data: UInt8s, position: Long) -> Long:
    """Eight bytes from `position` as a big-endian integer."""
    at = np.uint64(position)
    word = np.int64(data[at]) << 56
    word |= np.int64(data[at + np.uint64(1)]) << 48
    word |= np.int64(data[at + np.uint64(2)]) << 40
    word |= np.int64(data[at + np.uint64(3)]) << 32
    word |= np.int64(data[at + np.uint64(4)]) << 24
    word |= np.int64(data[at + np.uint64(5)]) << 16
    word |= np.int64(data[at + np.uint64(6)]) << 8
    word |= np.int64(data[at + np.uint64(7)])
    return word


@compiled
def read_long(data: UInt8s, position: Long, end: Long) -> tuple[Long, Long]:
    """Zigzag varint of at most ten bytes: (value, position after it)."""
    value = np.int64(0)
    shift = np.int64(0)
    while position < end:
        byte = np.int64(data[np.uint64(position)])
        position += 1
        if shift == 63 and byte > 1:
            return 0, -BAD_VARINT
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return ((value >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(value & 1), position
        shift += 7
    return 0, -TRUNCATED


@compiled
def read_length(data: UInt8s, position: Long, end: Long) -> tuple[Long, Long]:
    """Length of what follows, known to be inside the body."""
    length, position = read_long(data, position, end)
    if position < 0:
        return 0, position
    if length < 0:
        return 0, -NEGATIVE_LENGTH
    if length > end - position:
        return 0, -TRUNCATED
    return length, position


@compiled
def is_utf8(data: UInt8s, position: Long, end: Long) -> bool:
    """Unicode's own rule: no surrogates, no overlong forms, nothing above U+10FFFF."""
    while position < end:
        lead = data[position]
        position += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            following = 1
        elif 0xE0 <= lead <= 0xEF:
            following = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            following = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if following > end - position:
            return False
        for _ in range(following):
            if not low <= data[position] <= high:
                return False
            position += 1
            low, high = 0x80, 0xBF
    return True


@compiled
def is_text(data: UInt8s, position: Long, length: Long) -> bool:
    """Whether the bytes are UTF-8; eight at a time while they are ASCII."""
    high_bits = np.int64(0)
    whole = length & ~7
    for offset in range(0, whole, 8):
        high_bits |= load_word(data, position + offset)
    if length > whole:
        high_bits |= load_word(data, position + whole) & ((1 << (8 * (length - whole))) - 1)
    return high_bits & -0x7F7F7F7F7F7F7F80 == 0 or is_utf8(data, position, position + length)


@compiled
def read_text(data: UInt8s, position: Long, end: Long, text: UInt8s, offsets: Int32s, index: Long) -> Long:
    """Append a string as value `index` of a text column."""
    length, position = read_length(data, position, end)
    if position < 0:
        return position
    if not is_text(data, position, length):
        return -BAD_UTF8
    target = np.int64(offsets[index])
    for offset in range(0, length, 8):
        store_word(text, target + offset, load_word(data, position + offset))
    offsets[index + 1] = np.int32(target + length)
    return position + length


@compiled
def read_decimal(data: UInt8s, position: Long, length: Long, limits: Int64s, decimals: Int64s, index: Long) -> Long:
    """Big-endian two's complement of any length to 128 bits; OK or an error code."""
    if length == 0:
        return EMPTY_DECIMAL
    sign = -np.int64(data[position] >> 7)
    while length > 16:
        if np.int64(data[position]) != sign & 0xFF:
            return DECIMAL_TOO_WIDE
        position += 1
        length -= 1
    if length > 8:
        high = load_big_endian_word(data, position) >> (8 * (16 - length))
        low = load_big_endian_word(data, position + length - 8)
        if high >> 63 != sign:
            return DECIMAL_TOO_WIDE
    else:
        high = sign
        low = load_big_endian_word(data, position) >> (8 * (8 - length))
    magnitude_high, magnitude_low = high, low
    if sign < 0:
        magnitude_low = -low
        magnitude_high = ~high + np.int64(low == 0)
    # Bit 63 flipped on both sides turns the signed comparison of the low words into an unsigned one.
    flip = np.int64(-0x8000000000000000)
    limit_high = limits[LIMIT_HIGH]
    if magnitude_high < 0 or magnitude_high > limit_high:
        return DECIMAL_TOO_WIDE
    if magnitude_high == limit_high and magnitude_low ^ flip >= limits[LIMIT_LOW] ^ flip:
        return DECIMAL_TOO_WIDE
    for _ in range(limits[STEPS]):
        eightfold_high = (high << 3) | ((low >> 61) & 7)
        double_high = (high << 1) | ((low >> 63) & 1)
        eightfold_low = low << 3
        low = eightfold_low + (low << 1)
        high = eightfold_high + double_high + np.int64(low ^ flip < eightfold_low ^ flip)
    decimals[index] = low
    decimals[index + 1] = high
    return OK


@compiled
def read_block(data: UInt8s, position: Long, end: Long, item_bytes: Long) -> tuple[Long, Long, Long]:
    """Header of a block of items that take at least `item_bytes` (0 or 1) bytes each.

    (count, position its last item must end at or -1, position after the header).
    """
    block_end: Long = np.int64(-1)
    count, position = read_long(data, position, end)
    if position >= 0 and count < 0:
        count = -count
        size, position = read_length(data, position, end)
        block_end = position + size
    # The lowest int64 stays negative when negated.
    if position >= 0 and (count < 0 or (item_bytes > 0 and count > end - position)):
        return 0, 0, -BAD_COUNT
    return count, block_end, position
