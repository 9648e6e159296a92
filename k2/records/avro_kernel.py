"""The compiled walk: Avro bodies in, Arrow column buffers out, every body judged on its way.

One pass reads each body instruction by instruction (avro_program.py makes the instructions), writes its values behind
those of the last good body, and accepts the body only if its last field ends exactly at its last byte. A bad body
leaves nothing behind: the next one overwrites what it wrote, and dictionary entries it added are taken back.

It allocates nothing (outputs are sized by the caller from the number of bodies and bytes), ends on any input (every
turn of a loop consumes a byte or an instruction), and holds no lock of the interpreter.
"""

import inspect
from collections.abc import Callable

import numba
import numpy as np

from k2.records import avro_arrays, avro_readers
from k2.records.avro_arrays import (
    BAD_BLOCK_SIZE,
    BAD_BOOLEAN,
    BAD_ENUM,
    BAD_UNION,
    BAD_UTF8,
    BAD_VARINT,
    ENTRIES,
    FIRST,
    HASH,
    LATEST,
    LENGTH,
    MAXIMUM_PROBES,
    OK,
    OP_BLOCK,
    OP_BLOCK_NEXT,
    OP_BOOLEAN,
    OP_DECIMAL,
    OP_DICTIONARY,
    OP_END,
    OP_ENUM,
    OP_FIXED,
    OP_INT,
    OP_JUMP,
    OP_MAP,
    OP_NULL_DECIMAL,
    OP_NULL_INDEX,
    OP_NULL_LONG,
    OP_REFUSE_NULL,
    OP_STRING,
    OP_UNION,
    OPERATION,
    OVERFLOWED,
    SECOND,
    SLOT,
    SLOTS,
    START,
    THIRD,
    TRAILING_BYTES,
    TRUNCATED,
    UNEXPECTED_NULL,
    UNKNOWN_SYMBOL,
    VALIDITY,
    Bodies,
    Columns,
    Dictionaries,
    Int64s,
    Long,
    Programs,
    UInt8s,
    Verdicts,
)
from k2.records.avro_readers import (
    COMPILER_OPTIONS,
    compiled,
    is_text,
    load_word,
    read_block,
    read_decimal,
    read_length,
    read_long,
    read_text,
)

Walk = Callable[[Bodies, Programs, Columns, Dictionaries, Verdicts, Int64s], Long]


@compiled
def _hash(data: UInt8s, position: Long, length: Long) -> Long:
    code = np.int64(length)
    whole = length & ~7
    for offset in range(0, whole, 8):
        code = (code ^ load_word(data, position + offset)) * 0x1E3779B97F4A7C15
        code ^= code >> 32
    if length > whole:
        tail = load_word(data, position + whole) & ((1 << (8 * (length - whole))) - 1)
        code = (code ^ tail) * 0x1E3779B97F4A7C15
        code ^= code >> 32
    return code


@compiled
def _is_entry(data: UInt8s, position: Long, length: Long, dictionaries: Dictionaries, slot: Long, entry: Long) -> bool:
    if dictionaries.entries[slot, entry, LENGTH] != length:
        return False
    start = dictionaries.entries[slot, entry, START]
    whole = length & ~7
    for offset in range(0, whole, 8):
        if load_word(data, start + offset) != load_word(data, position + offset):
            return False
    if length > whole:
        difference = load_word(data, start + whole) ^ load_word(data, position + whole)
        return difference & ((1 << (8 * (length - whole))) - 1) == 0
    return True


@compiled
def _place(dictionaries: Dictionaries, slot: Long, entry: Long) -> None:
    mask = dictionaries.state[slot, SLOTS] - 1
    home = dictionaries.entries[slot, entry, HASH]
    for probe in range(MAXIMUM_PROBES):
        at = (home + probe) & mask
        if dictionaries.slots[slot, at] == 0:
            dictionaries.slots[slot, at] = np.int32(entry + 1)
            return
    # Not found again, so it will be entered again: decode.py merges the repeats of such a column.
    dictionaries.state[slot, OVERFLOWED] = 1


@compiled
def _enter(dictionaries: Dictionaries, slot: Long, code: Long, position: Long, length: Long) -> Long:
    entry: Long = dictionaries.state[slot, ENTRIES]
    dictionaries.entries[slot, entry, HASH] = code
    dictionaries.entries[slot, entry, START] = position
    dictionaries.entries[slot, entry, LENGTH] = length
    dictionaries.state[slot, ENTRIES] = entry + 1
    size = dictionaries.state[slot, SLOTS]
    if 2 * (entry + 1) > size:
        dictionaries.state[slot, SLOTS] = 2 * size
        dictionaries.slots[slot, : 2 * size] = 0
        for earlier in range(entry):
            _place(dictionaries, slot, earlier)
    _place(dictionaries, slot, entry)
    return entry


@compiled
def _dictionary_entry(data: UInt8s, position: Long, length: Long, dictionaries: Dictionaries, slot: Long) -> Long:
    """Number of the distinct string at `position`, entering it if it is new."""
    latest: Long = dictionaries.state[slot, LATEST]
    if latest >= 0 and _is_entry(data, position, length, dictionaries, slot, latest):
        return latest
    code = _hash(data, position, length)
    mask = dictionaries.state[slot, SLOTS] - 1
    for probe in range(MAXIMUM_PROBES):
        entry: Long = np.int64(dictionaries.slots[slot, (code + probe) & mask]) - 1
        if entry < 0:
            break
        if dictionaries.entries[slot, entry, HASH] == code and _is_entry(
            data, position, length, dictionaries, slot, entry
        ):
            dictionaries.state[slot, LATEST] = entry
            return entry
    if not is_text(data, position, length):
        return -BAD_UTF8
    entry = _enter(dictionaries, slot, code, position, length)
    dictionaries.state[slot, LATEST] = entry
    return entry


@compiled
def _take_back(dictionaries: Dictionaries, start: Long) -> None:
    """Remove the entries a bad body added. At most one a dictionary, always its last, so no search passes over it."""
    for slot in range(dictionaries.state.shape[0]):
        entry = dictionaries.state[slot, ENTRIES] - 1
        if entry < 0 or dictionaries.entries[slot, entry, START] < start:
            continue
        dictionaries.state[slot, ENTRIES] = entry
        mask = dictionaries.state[slot, SLOTS] - 1
        for probe in range(MAXIMUM_PROBES):
            at = (dictionaries.entries[slot, entry, HASH] + probe) & mask
            if dictionaries.slots[slot, at] == entry + 1:
                dictionaries.slots[slot, at] = 0
                break
        if dictionaries.state[slot, LATEST] == entry:
            dictionaries.state[slot, LATEST] = -1


@compiled
def _map(data: UInt8s, position: Long, end: Long, columns: Columns, instruction: Int64s, row: Long) -> Long:
    """Append the entries of a map of strings as value `row`."""
    slot, text, entries = instruction[SLOT], instruction[FIRST], instruction[SECOND]
    entry = np.int64(columns.offsets[slot, row])
    key_text, value_text = columns.texts[text], columns.texts[text + 1]
    key_offsets, value_offsets = columns.entry_offsets[entries], columns.entry_offsets[entries + 1]
    while True:
        count, block_end, position = read_block(data, position, end, np.int64(1))
        if position < 0:
            return position
        if count == 0:
            columns.offsets[slot, row + 1] = np.int32(entry)
            return position
        for _ in range(count):
            position = read_text(data, position, end, key_text, key_offsets, entry)
            if position < 0:
                return position
            position = read_text(data, position, end, value_text, value_offsets, entry)
            if position < 0:
                return position
            entry += 1
        if block_end >= 0 and position != block_end:
            return -BAD_BLOCK_SIZE


@compiled
def _enum(data: UInt8s, position: Long, end: Long, symbols: Int64s, count: Long) -> tuple[Long, Long]:
    """(our number of the symbol, position after it); symbols maps the writer's numbers to ours, -1 if we lack it."""
    number, position = read_long(data, position, end)
    if position < 0:
        return 0, position
    if number < 0 or number >= count:
        return 0, -BAD_ENUM
    if symbols[number] < 0:
        return 0, -UNKNOWN_SYMBOL
    return symbols[number], position


@compiled
def _value(
    bodies: Bodies, position: Long, end: Long, instruction: Int64s, tables: Int64s,
    columns: Columns, dictionaries: Dictionaries, row: Long,
) -> Long:  # fmt: skip
    """Read the value an instruction describes into its column; a slot of -1 only checks it."""
    data, operation, slot = bodies.data, instruction[OPERATION], instruction[SLOT]
    if operation <= OP_INT:
        number, position = read_long(data, position, end)
        if operation == OP_INT and position >= 0 and not -0x80000000 <= number <= 0x7FFFFFFF:
            return -BAD_VARINT
        if slot >= 0:
            columns.longs[slot, row] = number
        return position
    if operation == OP_ENUM:
        number, position = _enum(data, position, end, tables[instruction[FIRST] :], instruction[SECOND])
        if slot >= 0:
            columns.indices[slot, row] = np.int32(number)
        return position
    if operation == OP_MAP:
        return _map(data, position, end, columns, instruction, row)
    if operation == OP_STRING and slot >= 0:
        return read_text(data, position, end, columns.texts[instruction[FIRST]], columns.offsets[slot], row)
    if operation >= OP_FIXED or (operation == OP_DECIMAL and instruction[SECOND] >= 0):
        length = instruction[SECOND]
        if length > end - position:
            return -TRUNCATED
    else:
        length, position = read_length(data, position, end)
        if position < 0:
            return position
    return _sized(data, position, length, instruction, tables, columns, dictionaries, row)


@compiled
def _sized(
    data: UInt8s, position: Long, length: Long, instruction: Int64s, tables: Int64s,
    columns: Columns, dictionaries: Dictionaries, row: Long,
) -> Long:  # fmt: skip
    """A value of known length, all of it inside the body."""
    operation, slot = instruction[OPERATION], instruction[SLOT]
    if operation == OP_DICTIONARY:
        entry = _dictionary_entry(data, position, length, dictionaries, instruction[FIRST])
        if entry < 0:
            return entry
        columns.indices[slot, row] = np.int32(entry)
    elif operation == OP_DECIMAL:
        limits = tables[instruction[FIRST] :]
        error = read_decimal(data, position, length, limits, columns.decimals[slot], 2 * row)
        if error != OK:
            return -error
    elif operation == OP_BOOLEAN:
        if data[position] > 1:
            return -BAD_BOOLEAN
    elif operation == OP_STRING and not is_text(data, position, length):
        return -BAD_UTF8
    return position + length


@compiled
def _null(columns: Columns, operation: Long, slot: Long, row: Long) -> None:
    if operation == OP_NULL_LONG:
        columns.longs[slot, row] = 0
    elif operation == OP_NULL_DECIMAL:
        columns.decimals[slot, 2 * row] = 0
        columns.decimals[slot, 2 * row + 1] = 0
    elif operation == OP_NULL_INDEX:
        columns.indices[slot, row] = 0
    else:
        columns.offsets[slot, row + 1] = columns.offsets[slot, row]


@compiled
def _body(
    bodies: Bodies, number: Long, programs: Programs, blocks: Int64s,
    columns: Columns, dictionaries: Dictionaries, row: Long,
) -> tuple[Long, Long, Long]:  # fmt: skip
    """Read body `number` into row `row`: (position after it or negative error, failed instruction, where it began)."""
    data, position, end = bodies.data, bodies.starts[number], bodies.ends[number]
    first = programs.entries[bodies.programs[number], 0]
    tables = programs.tables[programs.entries[bodies.programs[number], 1] :]
    at = first
    while True:
        instruction = programs.code[at]
        operation = instruction[OPERATION]
        began = position
        following = at + 1
        if operation < OP_UNION:
            position = _value(bodies, position, end, instruction, tables, columns, dictionaries, row)
        elif operation == OP_UNION:
            branch, position = read_long(data, position, end)
            if position >= 0 and not 0 <= branch < instruction[SECOND]:
                position = np.int64(-BAD_UNION)
            elif position >= 0:
                following = first + tables[instruction[FIRST] + branch]
        elif operation == OP_JUMP:
            following = first + instruction[FIRST]
        elif operation == OP_BLOCK:
            depth = instruction[FIRST]
            blocks[0, depth], blocks[1, depth], position = read_block(data, position, end, instruction[THIRD])
            if blocks[0, depth] == 0:
                following = first + instruction[SECOND]
            elif not instruction[THIRD]:
                # Items without bytes: the count says it all, whatever it is.
                following = at
                if blocks[1, depth] > position:
                    position = np.int64(-BAD_BLOCK_SIZE)
        elif operation == OP_BLOCK_NEXT:
            depth = instruction[FIRST]
            blocks[0, depth] -= 1
            following = first + instruction[SECOND] + (blocks[0, depth] > 0)
            if blocks[0, depth] == 0 and blocks[1, depth] >= 0 and position != blocks[1, depth]:
                position = np.int64(-BAD_BLOCK_SIZE)
        elif operation == OP_REFUSE_NULL:
            position = np.int64(-UNEXPECTED_NULL)
        elif operation == OP_END:
            return (position if position == end else -TRAILING_BYTES), at, began
        else:
            _null(columns, operation, instruction[SLOT], row)
        if position < 0:
            return position, at, began
        if instruction[VALIDITY] >= 0:
            columns.validity[instruction[VALIDITY], row] = operation < OP_UNION
        at = following


def _entry_point(sources: str) -> Walk:
    """The one function Python calls, compiled on its first call and then kept on disk.

    The compiler's cache only notices changes of this file, but a variable the function closes over is part of its key:
    so `sources` is what the other files say.
    """

    def walk(
        bodies: Bodies,
        programs: Programs,
        columns: Columns,
        dictionaries: Dictionaries,
        verdicts: Verdicts,
        blocks: Int64s,
    ) -> Long:
        sources  # noqa: B018
        row = np.int64(0)
        for number in range(bodies.starts.size):
            position, at, began = _body(bodies, number, programs, blocks, columns, dictionaries, row)
            if position >= 0:
                verdicts.codes[number] = OK
                verdicts.rows[row] = number
                row += 1
            else:
                verdicts.codes[number] = np.int8(-position)
                verdicts.instructions[number] = np.int32(at - programs.entries[bodies.programs[number], 0])
                verdicts.positions[number] = np.int32(began - bodies.starts[number])
                _take_back(dictionaries, bodies.starts[number])
        return row

    entry_point: Walk
    try:
        entry_point = numba.njit(cache=True, **COMPILER_OPTIONS)(walk)
    except RuntimeError:
        # Neither this folder nor the user's cache can be written: every process compiles for itself.
        entry_point = numba.njit(**COMPILER_OPTIONS)(walk)
    return entry_point


# Read every body; returns the number of good ones, whose values are the first of every column. `blocks`
# [2, nesting depth of arrays and maps] is scratch memory.
walk = _entry_point(inspect.getsource(avro_arrays) + inspect.getsource(avro_readers))
