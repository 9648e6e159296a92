"""The ruling of k2.ingestion.sequence_tracker on Arrow columns, a batch at a time, and its checkpoint.

A key is the tuple of the key columns' values: (exchange, symbol) for the exchange's own numbers, (session, exchange,
symbol) for those a feed counts. Python runs once per distinct key of a batch; rows are handled by compiled code, in
arrival order. How rows are split into batches makes no difference to any result.

At most `max_keys` keys are known. Where a new one arrives beyond that, the key whose last number lies furthest back is
forgotten with all its statistics. k2.ingestion.sequence_checkpoint describes the checkpoint.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2.ingestion.sequence_checkpoint import (
    COUNT_COLUMNS,
    NUMBER_COLUMNS,
    POSITION_COLUMNS,
    RANGES_TYPE,
    SCHEMA,
    range_rows,
    read_checkpoint,
)
from k2.ingestion.sequence_kernel import (
    KEY_STATE,
    KEYS_ARRIVED,
    NO_SLOT,
    NOTHING_EVICTED,
    NUMBERS_JUDGED,
    NUMBERS_LOST,
    RANGE,
    BoolArray,
    Int8Array,
    Int64Array,
    RecordArray,
    Ruling,
    flatten_ranges,
    judge_rows,
)
from k2.ingestion.sequence_tracker import DEFAULT_SETTINGS, SequenceEvent, SequenceStatistics, sequence_statistics
from k2.settings import SequenceSettings

Key = tuple[str, ...]

NOT_JUDGED = -1
_FIRST_KEY_CAPACITY = 64
_FIRST_RANGE_CAPACITY = 256


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatchResult:
    """Judgements of a batch.

    Attributes:
        events: [rows] SequenceEvent codes, -1 where the number is null.
        seen: [rows] Knowledge codes, -1 where the number is null; NEW for every event but DUPLICATE and TOO_OLD.
        counts: rows of each event, all six present.
        lost: missing numbers given up because a key had too many open ranges.
    """

    events: Int8Array
    seen: Int8Array
    counts: Mapping[SequenceEvent, int]
    lost: int

    def event_names(self) -> pa.DictionaryArray:
        """The events as dictionary<int32, string>, null where the number is null."""
        codes = pa.array(self.events.astype(np.int32), mask=self.events == NOT_JUDGED)
        return pa.DictionaryArray.from_arrays(codes, pa.array([event.name for event in SequenceEvent]))


class SequenceBatchTracker:
    """Judges the sequence numbers of Arrow columns. One thread at a time.

    The first call of a process compiles the loop (seconds) or loads it from numba's cache (NUMBA_CACHE_DIR, by default
    beside the source), see `warm_up`.
    """

    def __init__(self, settings: SequenceSettings = DEFAULT_SETTINGS) -> None:
        self._ruling = Ruling(
            settings.reset_highest_number,
            settings.reset_lowest_distance,
            settings.duplicate_window,
            settings.max_open_ranges,
        )
        self._max_keys = settings.max_keys
        # In order of arrival. Slots are rows of the per-key arrays; that of a forgotten key goes to a new one.
        self._slots: dict[Key, int] = {}
        self._totals: Int64Array = np.zeros(3, np.int64)
        self._states: RecordArray = np.zeros(_FIRST_KEY_CAPACITY, KEY_STATE)
        self._counts: Int64Array = np.zeros((_FIRST_KEY_CAPACITY, len(SequenceEvent)), np.int64)
        self._ranges: RecordArray = np.zeros(0, RANGE)
        self._free: Int64Array = np.full(1, NO_SLOT, np.int64)
        self._add_free_slots(_FIRST_RANGE_CAPACITY)

    def check(
        self,
        keys: Sequence[pa.Array | pa.ChunkedArray],
        numbers: pa.Array | pa.ChunkedArray,
        may_reset: BoolArray | None = None,
    ) -> SequenceBatchResult:
        """Judge one batch, rows in arrival order.

        Args:
            keys: key columns, each dictionary<int32, string> without nulls; always the same ones for one tracker.
            numbers: int64, null where the record has no sequence number; such rows leave no trace in the state.
            may_reset: [rows] where a number may begin its key's numbering anew; None for everywhere.

        Raises:
            ValueError: a column has another type or length than stated, or a key is null. The state is unchanged.
        """
        _require_columns(keys, numbers)
        self._totals[NUMBERS_LOST] = 0
        rows = len(numbers)
        events: Int8Array = np.full(rows, NOT_JUDGED, np.int8)
        seen: Int8Array = np.full(rows, NOT_JUDGED, np.int8)
        if may_reset is None:
            may_reset = np.ones(rows, np.bool_)
        if numbers.null_count == 0:
            self._judge(keys, numbers, may_reset, events, seen)
        else:
            numbered = numbers.is_valid()
            judged = np.flatnonzero(numbered.to_numpy(zero_copy_only=False))
            part: Int8Array = np.empty((2, len(judged)), np.int8)
            keys = [column.filter(numbered) for column in keys]
            self._judge(keys, numbers.drop_null(), may_reset[judged], part[0], part[1])
            events[judged], seen[judged] = part
        counts = np.bincount(events[events != NOT_JUDGED], minlength=len(SequenceEvent))
        by_event = {event: int(counts[event]) for event in SequenceEvent}
        return SequenceBatchResult(events, seen, by_event, int(self._totals[NUMBERS_LOST]))

    def open_gaps(self) -> list[tuple[Key, int, int]]:
        """(key, first missing, last missing) of every open gap, keys in order of first arrival, ascending per key."""
        states, _ = self._in_order_of_arrival()
        range_keys, firsts, lasts = self._unseen_ranges(states)
        gaps = firsts > states["first"][range_keys]
        names = list(self._slots)
        return [
            (names[key], first, last)
            for key, first, last in zip(
                range_keys[gaps].tolist(), firsts[gaps].tolist(), lasts[gaps].tolist(), strict=True
            )
        ]

    def statistics(self, key: Key) -> SequenceStatistics:
        """Counts of a key; all zero for a key that was never seen."""
        slot = self._slots.get(key)
        if slot is None:
            return sequence_statistics([0] * len(SequenceEvent), 0)
        return sequence_statistics(self._counts[slot].tolist(), int(self._states[slot]["lost"]))

    @property
    def keys_forgotten(self) -> int:
        """How often a key was forgotten, since the tracker was empty."""
        return int(self._totals[KEYS_ARRIVED]) - len(self._slots)

    @property
    def state_bytes(self) -> int:
        """Bytes reserved for the numeric state of all keys; their names come on top."""
        return int(self._states.nbytes + self._counts.nbytes + self._ranges.nbytes)

    def to_arrow(self) -> pa.Table:
        """The whole state, as k2.ingestion.sequence_checkpoint describes; the tracker is not affected by it."""
        known = len(self._slots)
        states, counts = self._in_order_of_arrival()
        range_keys, firsts, lasts = self._unseen_ranges(states)
        gaps = firsts > states["first"][range_keys]
        columns = {
            "key": pa.array([list(key) for key in self._slots], pa.list_(pa.string())),
            **{name: pa.array(states[name]) for name in (*NUMBER_COLUMNS, *POSITION_COLUMNS)},
            "highest_evicted": pa.array(states["highest_evicted"], mask=states["highest_evicted"] == NOTHING_EVICTED),
            "total_messages": pa.array(counts.sum(axis=1)),
            **{name: pa.array(counts[:, code]) for code, name in enumerate(COUNT_COLUMNS)},
            "lost_in_evicted_ranges": pa.array(states["lost"]),
            "open_ranges": _ranges_column(known, range_keys[gaps], firsts[gaps], lasts[gaps]),
            "holes_before_first": _ranges_column(known, range_keys[~gaps], firsts[~gaps], lasts[~gaps]),
        }
        return pa.table(columns, schema=SCHEMA)

    @classmethod
    def from_arrow(
        cls, table: pa.Table, settings: SequenceSettings = DEFAULT_SETTINGS, key_parts: int | None = None
    ) -> Self:
        """A tracker that continues where `to_arrow` was called, given the same settings.

        With fewer max_open_ranges than before, a key is brought under the new limit when its next range opens; with
        fewer max_keys, the keys are when the next new one arrives.

        Args:
            table: what `to_arrow` made, in this release or an earlier one.
            settings: the ruling.
            key_parts: how many values a key must have; None for any number, the same in all keys.

        Raises:
            ProgressError: the table is of a format this code does not know, or no tracker can have written it.
        """
        table = read_checkpoint(table, key_parts)
        tracker = cls(settings)
        tracker._slots = {tuple(key): slot for slot, key in enumerate(table["key"].to_pylist())}
        tracker._reserve_keys()
        known = len(tracker._slots)
        states = tracker._states[:known]
        for name in (*NUMBER_COLUMNS, *POSITION_COLUMNS):
            states[name] = table[name].to_numpy()
        states["highest_evicted"] = table["highest_evicted"].fill_null(NOTHING_EVICTED).to_numpy()
        states["lost"] = table["lost_in_evicted_ranges"].to_numpy()
        states["started"] = True
        for code, name in enumerate(COUNT_COLUMNS):
            tracker._counts[:known, code] = table[name].to_numpy()
        tracker._totals[KEYS_ARRIVED] = states["arrival_number"].max(initial=0)
        tracker._totals[NUMBERS_JUDGED] = states["last_position"].max(initial=0)
        tracker._restore_ranges(table)
        return tracker

    def _judge(
        self,
        keys: Sequence[pa.Array | pa.ChunkedArray],
        numbers: pa.Array | pa.ChunkedArray,
        may_reset: BoolArray,
        events: Int8Array,
        seen: Int8Array,
    ) -> None:
        row_slots = self._row_slots(keys)
        self._reserve_keys()
        # Arrow lends its memory read-only or not, depending on chunks; numba compiles each kind anew.
        values = numbers.to_numpy().view()
        values.flags.writeable = False
        given = (row_slots, values, may_reset, self._ruling)
        state = (self._states, self._counts, self._totals)
        row = 0
        while True:
            row = judge_rows(row, *given, *state, self._ranges, self._free, events, seen)
            if row == len(values):
                return
            self._add_free_slots(len(self._ranges))

    def _row_slots(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> Int64Array:
        """[rows] slot of each row's key; ~slot where the key that had it so far is forgotten for the row's."""
        merged = [_one_dictionary(column) for column in columns]
        # A column of one value tells no key from another.
        telling = [column for column in merged if len(column.dictionary) > 1] or merged[:1]
        batch_codes = telling[0].indices.to_numpy()
        for column in telling[1:]:
            batch_codes = _numbered(batch_codes.astype(np.int64) * len(column.dictionary) + column.indices.to_numpy())
        if len(telling) == 1:
            batch_codes = _numbered(batch_codes)
        any_row = np.empty(batch_codes.max(initial=-1) + 1, np.int64)
        any_row[batch_codes] = np.arange(len(batch_codes))
        batch_keys = list(zip(*(column.take(pa.array(any_row)).to_pylist() for column in merged), strict=True))
        if any(None in key for key in batch_keys):
            raise ValueError("a key column holds a null; every record needs its session, exchange and symbol")
        slots = self._slots
        if len(slots) + len(batch_keys) > self._max_keys and not all(key in slots for key in batch_keys):
            return self._row_slots_at_the_bound([batch_keys[code] for code in batch_codes.tolist()])
        key_slots = np.array([slots.setdefault(key, len(slots)) for key in batch_keys], np.int64)
        row_slots: Int64Array = key_slots[batch_codes]
        return row_slots

    def _row_slots_at_the_bound(self, row_keys: Sequence[Key]) -> Int64Array:
        """The same row by row: which key is forgotten depends on all that came before."""
        slots = self._slots
        known, (states, _) = list(slots), self._in_order_of_arrival()
        oldest_first = OrderedDict.fromkeys(known[place] for place in np.argsort(states["last_position"]).tolist())
        row_slots = []
        for key in row_keys:
            if key in slots:
                oldest_first.move_to_end(key)
                row_slots.append(slots[key])
                continue
            slot, place = len(slots), len(slots)
            while len(slots) >= self._max_keys:
                slot = slots.pop(oldest_first.popitem(last=False)[0])
                place = ~slot
            slots[key] = slot
            oldest_first[key] = None
            row_slots.append(place)
        return np.array(row_slots, np.int64)

    def _in_order_of_arrival(self) -> tuple[RecordArray, Int64Array]:
        """Copies of the known keys' states and counts; Arrow may borrow their memory."""
        slots = np.fromiter(self._slots.values(), np.int64, len(self._slots))
        return self._states[slots], self._counts[slots]

    def _reserve_keys(self) -> None:
        """Make room in the per-key arrays for every known key."""
        capacity, wanted = len(self._states), len(self._slots)
        if wanted > capacity:
            extra = max(wanted, 2 * capacity) - capacity
            self._states = np.concatenate([self._states, np.zeros(extra, KEY_STATE)])
            self._counts = np.concatenate([self._counts, np.zeros((extra, len(SequenceEvent)), np.int64)])

    def _add_free_slots(self, count: int) -> None:
        capacity = len(self._ranges)
        added: RecordArray = np.zeros(count, RANGE)
        added["next"][:-1] = np.arange(capacity + 1, capacity + count)
        added["next"][-1] = self._free[0]
        self._ranges = np.concatenate([self._ranges, added])
        self._free[0] = capacity

    def _restore_ranges(self, table: pa.Table) -> None:
        """Rebuild the linked lists from a checkpoint: ranges side by side, each key's in ascending order."""
        known = len(self._slots)
        parts = [range_rows(table[name]) for name in ("holes_before_first", "open_ranges")]
        keys, firsts, lasts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((firsts, keys))
        keys, total = keys[order], len(order)
        slots = np.arange(total, dtype=np.int32)
        begins = np.flatnonzero(np.diff(keys, prepend=-1))
        ends = np.append(begins[1:], total)[: len(begins)] - 1
        ranges: RecordArray = np.zeros(total, RANGE)
        ranges["first"], ranges["last"] = firsts[order], lasts[order]
        ranges["previous"], ranges["next"] = slots - 1, slots + 1
        ranges["previous"][begins] = NO_SLOT
        ranges["next"][ends] = NO_SLOT
        states = self._states[:known]
        states["head"] = states["tail"] = NO_SLOT
        states["head"][keys[begins]] = begins
        states["tail"][keys[begins]] = ends
        states["range_count"] = np.bincount(keys, minlength=known)
        self._ranges, self._free = ranges, np.full(1, NO_SLOT, np.int64)
        self._add_free_slots(max(total, _FIRST_RANGE_CAPACITY))

    def _unseen_ranges(self, states: RecordArray) -> tuple[Int64Array, Int64Array, Int64Array]:
        return flatten_ranges(states, self._ranges, int(states["range_count"].sum()))


def warm_up() -> None:
    """Load the compiled loops, or compile them where they never ran (seconds): the first batch will not wait."""
    nobody = pa.array([], pa.string()).dictionary_encode()
    tracker = SequenceBatchTracker()
    tracker.check([nobody], pa.array([], pa.int64()))
    SequenceBatchTracker.from_arrow(tracker.to_arrow())


def _require_columns(keys: Sequence[pa.Array | pa.ChunkedArray], numbers: pa.Array | pa.ChunkedArray) -> None:
    if not keys:
        raise ValueError("at least one key column is needed")
    if numbers.type != pa.int64():
        raise ValueError(f"sequence numbers are int64, not {numbers.type}")
    for position, column in enumerate(keys):
        if column.type != pa.dictionary(pa.int32(), pa.string()):
            raise ValueError(f"key column {position} is dictionary<int32, string>, not {column.type}")
        if len(column) != len(numbers):
            raise ValueError(f"key column {position} has {len(column)} rows, the numbers have {len(numbers)}")
        if column.null_count:
            raise ValueError(f"key column {position} holds {column.null_count} nulls; every record needs its key")


def _one_dictionary(column: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbered(codes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
    """The codes by new ones, 0, 1, 2... in the order in which they first appear."""
    numbered: npt.NDArray[np.int32] = pa.array(codes).dictionary_encode().indices.to_numpy()
    return numbered


def _ranges_column(rows: int, keys: Int64Array, firsts: Int64Array, lasts: Int64Array) -> pa.Array:
    ends = np.cumsum(np.bincount(keys, minlength=rows)[:rows])
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    structs = pa.StructArray.from_arrays([pa.array(firsts), pa.array(lasts)], fields=list(RANGES_TYPE.value_type))
    return pa.ListArray.from_arrays(offsets, structs, type=RANGES_TYPE)
