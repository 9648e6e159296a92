"""The compiled loop behind k2.ingestion.sequence_batch. The ruling is in k2.ingestion.sequence_tracker.

Each key has one record in `states` and a doubly linked list of unseen ranges, ascending, in the shared pool `ranges`.
Unused slots of the pool form a list of their own, chained by `next` and starting at `free[0]`. A number in sequence
touches one record; a late one is looked for from the upper end of its list, where late numbers usually belong.

Distances are taken as unsigned 64-bit, so that no pair of signed 64-bit numbers overflows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from k2.ingestion.sequence_tracker import LARGEST_COUNT, Knowledge, SequenceEvent

NO_SLOT = -1
NOTHING_EVICTED = -(2**63)  # no range ends there: each lies above some number that was seen
NUMBERS_JUDGED, KEYS_ARRIVED, NUMBERS_LOST = 0, 1, 2  # what the totals count

KEY_STATE = np.dtype(
    [
        ("first", np.int64),
        ("lowest", np.int64),
        ("last", np.int64),
        ("highest_evicted", np.int64),
        ("lost", np.int64),
        ("arrival_number", np.int64),
        ("last_position", np.int64),
        ("head", np.int32),
        ("tail", np.int32),
        ("range_count", np.int32),
        ("started", np.bool_),
    ],
    align=True,
)
RANGE = np.dtype([("first", np.int64), ("last", np.int64), ("previous", np.int32), ("next", np.int32)])

_IN_ORDER = int(SequenceEvent.IN_ORDER)
_GAP = int(SequenceEvent.GAP)
_OUT_OF_ORDER = int(SequenceEvent.OUT_OF_ORDER)
_DUPLICATE = int(SequenceEvent.DUPLICATE)
_SESSION_RESET = int(SequenceEvent.SESSION_RESET)
_TOO_OLD = int(SequenceEvent.TOO_OLD)
_NEW = int(Knowledge.NEW)
_KNOWN = int(Knowledge.KNOWN)
_UNKNOWN = int(Knowledge.UNKNOWN)

Int8Array = npt.NDArray[np.int8]
BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]
RecordArray = npt.NDArray[np.record]


class Ruling(NamedTuple):
    """SequenceSettings in the form the compiled code takes."""

    reset_highest_number: int
    reset_lowest_distance: int
    duplicate_window: int
    max_open_ranges: int


@njit(cache=True, nogil=True)
def judge_rows(
    start_row: int,
    keys: Int64Array,
    numbers: Int64Array,
    may_reset: BoolArray,
    ruling: Ruling,
    states: RecordArray,
    counts: Int64Array,
    totals: Int64Array,
    ranges: RecordArray,
    free: Int64Array,
    events: Int8Array,
    seen: Int8Array,
) -> int:
    """Judge rows in order from `start_row`; returns the first row not judged.

    That is the number of rows when done; earlier when the pool has no free slot left, as one row may need one.

    Args:
        start_row: row to begin with.
        keys: index into `states` of each row; ~index where the key that had it so far is forgotten.
        numbers: sequence number of each row.
        may_reset: where the number may begin its key's numbering anew.
        ruling: the limits.
        states: KEY_STATE records, changed in place.
        counts: [key, event code] judgements so far, changed in place.
        totals: [3] NUMBERS_JUDGED, KEYS_ARRIVED and NUMBERS_LOST so far, changed in place.
        ranges: pool of RANGE records, changed in place.
        free: [1] first free slot of the pool or NO_SLOT, changed in place.
        events: filled with SequenceEvent codes.
        seen: filled with Knowledge codes.
    """
    for row in range(start_row, len(keys)):
        if free[0] == NO_SLOT:
            return row
        key = keys[row]
        if key < 0:
            key = ~key
            _forget(states[key], counts[key], ranges, free)
        state = states[key]
        number = numbers[row]
        if state.started:
            event, knowledge = _judge(state, number, may_reset[row], ruling, totals, ranges, free)
        else:
            _begin(state, number)
            totals[KEYS_ARRIVED] += 1
            state.arrival_number = totals[KEYS_ARRIVED]
            event, knowledge = _IN_ORDER, _NEW
        totals[NUMBERS_JUDGED] += 1
        state.last_position = totals[NUMBERS_JUDGED]
        events[row] = event
        seen[row] = knowledge
        counts[key, event] += 1
    return len(keys)


@njit(cache=True, nogil=True)
def flatten_ranges(states: RecordArray, ranges: RecordArray, total: int) -> tuple[Int64Array, Int64Array, Int64Array]:
    """All unseen ranges as (key index, first, last), each [total], by key and ascending within a key."""
    keys = np.empty(total, np.int64)
    firsts = np.empty(total, np.int64)
    lasts = np.empty(total, np.int64)
    row = 0
    for key in range(len(states)):
        slot = states[key].head
        while slot != NO_SLOT:
            keys[row] = key
            firsts[row] = ranges[slot].first
            lasts[row] = ranges[slot].last
            row += 1
            slot = ranges[slot].next
    return keys, firsts, lasts


@njit(cache=True, nogil=True)
def _judge(
    state: np.record,
    number: int,
    may_reset: bool,
    ruling: Ruling,
    totals: Int64Array,
    ranges: RecordArray,
    free: Int64Array,
) -> tuple[int, int]:
    if number > state.last:
        event = _IN_ORDER
        if number - 1 != state.last:
            event = _GAP
            _insert(state, ranges, free, state.tail, state.last + 1, number - 1)
            _evict(state, totals, ranges, free, ruling.max_open_ranges)
        state.last = number
        return event, _NEW
    slot = _find(state, ranges, number)
    if slot != NO_SLOT and number > state.first:
        _fill(state, ranges, free, slot, number)
        _evict(state, totals, ranges, free, ruling.max_open_ranges)
        return _OUT_OF_ORDER, _NEW
    distance = np.uint64(state.last) - np.uint64(number)
    far_behind = distance >= np.uint64(ruling.reset_lowest_distance)
    if may_reset and number <= ruling.reset_highest_number and far_behind:
        _release_all(state, ranges, free)
        _begin(state, number)
        return _SESSION_RESET, _NEW
    event = _DUPLICATE if distance < np.uint64(ruling.duplicate_window) else _TOO_OLD
    if slot != NO_SLOT:
        _fill(state, ranges, free, slot, number)
    elif number < state.lowest:
        if number + 1 < state.lowest:
            _insert(state, ranges, free, NO_SLOT, number + 1, state.lowest - 1)
        state.lowest = number
    else:
        uncertain = state.highest_evicted != NOTHING_EVICTED and number <= state.highest_evicted
        return event, _UNKNOWN if uncertain else _KNOWN
    _evict(state, totals, ranges, free, ruling.max_open_ranges)
    return event, _NEW


@njit(cache=True, nogil=True)
def _begin(state: np.record, number: int) -> None:
    state.first = number
    state.lowest = number
    state.last = number
    state.highest_evicted = NOTHING_EVICTED
    state.head = NO_SLOT
    state.tail = NO_SLOT
    state.range_count = 0
    state.started = True


@njit(cache=True, nogil=True)
def _forget(state: np.record, counts: Int64Array, ranges: RecordArray, free: Int64Array) -> None:
    _release_all(state, ranges, free)
    state.lost = 0
    state.started = False
    counts[:] = 0


@njit(cache=True, nogil=True)
def _find(state: np.record, ranges: RecordArray, number: int) -> int:
    """Slot of the unseen range that holds the number, or NO_SLOT."""
    slot: int = state.tail
    while slot != NO_SLOT and ranges[slot].first > number:
        slot = ranges[slot].previous
    if slot != NO_SLOT and ranges[slot].last < number:
        return NO_SLOT
    return slot


@njit(cache=True, nogil=True)
def _fill(state: np.record, ranges: RecordArray, free: Int64Array, slot: int, number: int) -> None:
    first, last = ranges[slot].first, ranges[slot].last
    if first == last:
        _release(state, ranges, free, slot)
    elif number == first:
        ranges[slot].first = number + 1
    elif number == last:
        ranges[slot].last = number - 1
    else:
        ranges[slot].last = number - 1
        _insert(state, ranges, free, slot, number + 1, last)


@njit(cache=True, nogil=True)
def _evict(state: np.record, totals: Int64Array, ranges: RecordArray, free: Int64Array, max_open_ranges: int) -> None:
    while state.range_count > max_open_ranges:
        slot = state.head
        first, last = ranges[slot].first, ranges[slot].last
        if last > state.highest_evicted:
            state.highest_evicted = last
        if first > state.first:
            size = np.uint64(last) - np.uint64(first) + np.uint64(1)
            state.lost += _at_most(size, state.lost)
            totals[NUMBERS_LOST] += _at_most(size, totals[NUMBERS_LOST])
        _release(state, ranges, free, slot)


@njit(cache=True, nogil=True)
def _at_most(size: np.uint64, counted: np.int64) -> np.int64:
    """As much of `size` as a count that holds `counted` can take."""
    return np.int64(min(size, np.uint64(LARGEST_COUNT) - np.uint64(counted)))


@njit(cache=True, nogil=True)
def _insert(state: np.record, ranges: RecordArray, free: Int64Array, previous: int, first: int, last: int) -> None:
    """Put a range behind the slot `previous`; NO_SLOT puts it at the head."""
    slot = free[0]
    free[0] = ranges[slot].next
    following = state.head if previous == NO_SLOT else ranges[previous].next
    ranges[slot].first = first
    ranges[slot].last = last
    _link(state, ranges, previous, slot)
    _link(state, ranges, slot, following)
    state.range_count += 1


@njit(cache=True, nogil=True)
def _release(state: np.record, ranges: RecordArray, free: Int64Array, slot: int) -> None:
    _link(state, ranges, ranges[slot].previous, ranges[slot].next)
    ranges[slot].next = free[0]
    free[0] = slot
    state.range_count -= 1


@njit(cache=True, nogil=True)
def _release_all(state: np.record, ranges: RecordArray, free: Int64Array) -> None:
    if state.head != NO_SLOT:
        ranges[state.tail].next = free[0]
        free[0] = state.head


@njit(cache=True, nogil=True)
def _link(state: np.record, ranges: RecordArray, left: int, right: int) -> None:
    """Make two slots neighbours; NO_SLOT on either side is that end of the list."""
    if left == NO_SLOT:
        state.head = right
    else:
        ranges[left].next = right
    if right == NO_SLOT:
        state.tail = left
    else:
        ranges[right].previous = left
