"""What the compiled walk and its callers agree on: verdict codes, operations, and the arrays handed over."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Bytes that must be readable and writable behind the input and behind each text, for whole-word access.
PADDING_BYTES = 8

# Longest search in a dictionary's slots. Strings made to collide cost this much and not a full scan.
MAXIMUM_PROBES = 64

# Verdicts on a body.
OK = 0
TRUNCATED = 1
TRAILING_BYTES = 2
BAD_VARINT = 3
NEGATIVE_LENGTH = 4
BAD_UNION = 5
BAD_ENUM = 6
UNKNOWN_SYMBOL = 7
DECIMAL_TOO_WIDE = 8
EMPTY_DECIMAL = 9
BAD_UTF8 = 10
BAD_COUNT = 11
BAD_BLOCK_SIZE = 12
BAD_BOOLEAN = 13
UNEXPECTED_NULL = 14

# Operations. The order matters to the kernel: first those that read a value (a slot of -1 checks it without storing
# it), of these last those whose length the schema gives,
OP_LONG = 0
OP_INT = 1
OP_STRING = 2
OP_DICTIONARY = 3
OP_ENUM = 4
OP_DECIMAL = 5
OP_MAP = 6
OP_BYTES = 7
OP_FIXED = 8
OP_BOOLEAN = 9
# then those that decide what comes next,
OP_UNION = 10
OP_JUMP = 11
OP_BLOCK = 12
OP_BLOCK_NEXT = 13
OP_REFUSE_NULL = 14
OP_END = 15
# then those that read nothing: null by the storage of its column, or an empty map.
OP_NULL_LONG = 16
OP_NULL_DECIMAL = 17
OP_NULL_INDEX = 18
OP_EMPTY = 19

# Words of an instruction.
OPERATION = 0
SLOT = 1
VALIDITY = 2
FIRST = 3
SECOND = 4
THIRD = 5
INSTRUCTION_WORDS = 6

# Words of a decimal's table entry.
LIMIT_HIGH = 0
LIMIT_LOW = 1
STEPS = 2
DECIMAL_WORDS = 3

# Words of a dictionary's state, and of each of its entries: a distinct string by its hash and its place in Bodies.data.
ENTRIES = 0
SLOTS = 1
LATEST = 2
OVERFLOWED = 3
STATE_WORDS = 4
HASH = 0
START = 1
LENGTH = 2
ENTRY_WORDS = 3

# An integer inside compiled code, always 64 bits.
Long = int | np.int64

Int8s = npt.NDArray[np.int8]
UInt8s = npt.NDArray[np.uint8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Bodies(NamedTuple):
    """What is read: body i is data[starts[i]:ends[i]], written by program programs[i].

    `data` ends in PADDING_BYTES bytes which belong to no body.
    """

    data: UInt8s
    starts: Int64s
    ends: Int64s
    programs: Int32s


class Programs(NamedTuple):
    """Instructions of one or more writer schemas.

    code [instructions, INSTRUCTION_WORDS]; entries [programs, 2] says where each program begins in code and in tables,
    and the targets and table positions in its instructions count from there.
    """

    code: Int64s
    tables: Int64s
    entries: Int64s


class Columns(NamedTuple):
    """Output by storage class, [slot, value], rows packed without holes.

    longs [., n]; decimals [., 2n] low word first; indices [., n]; offsets [., n + 1] of strings and maps;
    texts [., bytes + PADDING_BYTES]; entry_offsets [., bytes / 2 + 1] of map keys and values; validity [., n] 1 = set.
    """

    longs: Int64s
    decimals: Int64s
    indices: Int32s
    offsets: Int32s
    texts: UInt8s
    entry_offsets: Int32s
    validity: UInt8s


class Dictionaries(NamedTuple):
    """Distinct strings of each dictionary column in order of appearance.

    slots [., power of two], entry + 1 or 0; entries [., n, ENTRY_WORDS]; state [., STATE_WORDS].
    """

    slots: Int32s
    entries: Int64s
    state: Int64s


class Verdicts(NamedTuple):
    """The kernel's judgement of each body.

    rows: the numbers of the good bodies, one after another. codes: OK or what is wrong. instructions and positions, of
    a bad body only: what could not be read, and the byte of the body where it began.
    """

    rows: Int64s
    codes: Int8s
    instructions: Int32s
    positions: Int32s

    @classmethod
    def of(cls, bodies: int) -> "Verdicts":
        """Room for so many bodies, not yet judged."""
        return cls(
            np.empty(bodies, np.int64),
            np.empty(bodies, np.int8),
            np.empty(bodies, np.int32),
            np.empty(bodies, np.int32),
        )
