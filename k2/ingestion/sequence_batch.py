"""The ruling of k2.ingestion.sequence_tracker on Arrow columns, a batch at a time, and its checkpoint.

A key is the tuple of the key columns' values: (exchange, symbol) for the exchange's own numbers, (session, exchange,
symbol) for those a feed counts. Python runs once per distinct key of a batch; rows are handled by compiled code, in
arrival order. How rows are split into batches makes no difference to any result.

The checkpoint (`to_arrow`, format version 1) has one row per key:

    key                       list<string>    the key columns' values
    first, lowest, last       int64           as in the ruling
    highest_evicted           int64           null while nothing was evicted since the last session reset
    total_messages .. lost_in_evicted_ranges  the statistics
    open_ranges               list<struct<first: int64, last: int64>>   the gaps, ascending
    holes_before_first        the same        unseen numbers between `lowest` and `first`, ascending
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2.errors import ProgressError
from k2.ingestion.sequence_kernel import (
    KEY_STATE,
    NO_SLOT,
    NOTHING_EVICTED,
    RANGE,
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
FORMAT_KEY = b"k2.sequence.format"
FORMAT_VERSION = b"1"

_RANGES_TYPE = pa.list_(pa.struct([("first", pa.int64()), ("last", pa.int64())]))
# In the order of the event codes.
_COUNT_COLUMNS = ("in_order", "gaps", "out_of_order", "duplicates", "session_resets", "too_old")
_STATE_COLUMNS = ("first", "lowest", "last")
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.list_(pa.string()), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in _STATE_COLUMNS),
        pa.field("highest_evicted", pa.int64()),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in ("total_messages", *_COUNT_COLUMNS, "lost_in_evicted_ranges")
        ),
        pa.field("open_ranges", _RANGES_TYPE, nullable=False),
        pa.field("holes_before_first", _RANGES_TYPE, nullable=False),
    ],
    metadata={FORMAT_KEY: FORMAT_VERSION},
)
_FIRST_KEY_CAPACITY = 64
_FIRST_RANGE_CAPACITY = 256


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatchResult:
    """Judgements of a batch.

    Attributes:
        events: [rows] SequenceEvent codes, -1 where the number is null.
        seen: [rows] Knowledge codes, -1 where the number is null; NEW for every event but DUPLICATE and TOO_OLD.
        counts: rows of each event, all six present.
    """

    events: Int8Array
    seen: Int8Array
    counts: Mapping[SequenceEvent, int]

    def event_names(self) -> pa.DictionaryArray:
        """The events as dictionary<int32, string>, null where the number is null."""
        codes = pa.array(self.events.astype(np.int32), mask=self.events == NOT_JUDGED)
        return pa.DictionaryArray.from_arrays(codes, pa.array([event.name for event in SequenceEvent]))


class SequenceBatchTracker:
    """Judges the sequence numbers of Arrow columns. One thread at a time.

    The first call of a process compiles the loop (seconds) or loads it from numba's cache (NUMBA_CACHE_DIR, by default
    beside the source); checking an empty batch is enough to have that done.
    """

    def __init__(self, settings: SequenceSettings = DEFAULT_SETTINGS) -> None:
        self._ruling = Ruling(
            settings.reset_highest_number,
            settings.reset_lowest_distance,
            settings.duplicate_window,
            settings.max_open_ranges,
        )
        self._codes: dict[Key, int] = {}
        self._states: RecordArray = np.zeros(_FIRST_KEY_CAPACITY, KEY_STATE)
        self._counts: Int64Array = np.zeros((_FIRST_KEY_CAPACITY, len(SequenceEvent)), np.int64)
        self._ranges: RecordArray = np.zeros(0, RANGE)
        self._free: Int64Array = np.full(1, NO_SLOT, np.int64)
        self._add_free_slots(_FIRST_RANGE_CAPACITY)

    def check(
        self, keys: Sequence[pa.Array | pa.ChunkedArray], numbers: pa.Array | pa.ChunkedArray
    ) -> SequenceBatchResult:
        """Judge one batch, rows in arrival order.

        Args:
            keys: key columns, each dictionary<int32, string> without nulls; always the same ones for one tracker.
            numbers: int64, null where the record has no sequence number; such rows leave no trace in the state.

        Raises:
            ValueError: a column has another type or length than stated, or a key is null. The state is unchanged.
        """
        _require_columns(keys, numbers)
        rows = len(numbers)
        events: Int8Array = np.full(rows, NOT_JUDGED, np.int8)
        seen: Int8Array = np.full(rows, NOT_JUDGED, np.int8)
        if numbers.null_count == 0:
            self._judge(keys, numbers, events, seen)
        else:
            numbered = numbers.is_valid()
            judged = np.flatnonzero(numbered.to_numpy(zero_copy_only=False))
            part: Int8Array = np.empty((2, len(judged)), np.int8)
            self._judge([column.filter(numbered) for column in keys], numbers.drop_null(), part[0], part[1])
            events[judged], seen[judged] = part
        counts = np.bincount(events[events != NOT_JUDGED], minlength=len(SequenceEvent))
        return SequenceBatchResult(events, seen, {event: int(counts[event]) for event in SequenceEvent})

    def open_gaps(self) -> list[tuple[Key, int, int]]:
        """(key, first missing, last missing) of every open gap, keys in order of first arrival, ascending per key."""
        range_keys, firsts, lasts = self._unseen_ranges()
        gaps = firsts > self._states["first"][range_keys]
        names = list(self._codes)
        return [
            (names[key], first, last)
            for key, first, last in zip(
                range_keys[gaps].tolist(), firsts[gaps].tolist(), lasts[gaps].tolist(), strict=True
            )
        ]

    def statistics(self, key: Key) -> SequenceStatistics:
        """Counts of a key; all zero for a key that was never seen."""
        code = self._codes.get(key)
        if code is None:
            return sequence_statistics([0] * len(SequenceEvent), 0)
        return sequence_statistics(self._counts[code].tolist(), int(self._states[code]["lost"]))

    @property
    def state_bytes(self) -> int:
        """Bytes reserved for the numeric state of all keys; their names come on top."""
        return int(self._states.nbytes + self._counts.nbytes + self._ranges.nbytes)

    def to_arrow(self) -> pa.Table:
        """The whole state, as the module docstring describes; the tracker is not affected by it."""
        known = len(self._codes)
        states, counts = self._states[:known], self._counts[:known]
        range_keys, firsts, lasts = self._unseen_ranges()
        gaps = firsts > states["first"][range_keys]
        columns = {
            "key": pa.array([list(key) for key in self._codes], pa.list_(pa.string())),
            **{name: _column(states[name]) for name in _STATE_COLUMNS},
            "highest_evicted": pa.array(
                states["highest_evicted"].copy(), mask=states["highest_evicted"] == NOTHING_EVICTED
            ),
            "total_messages": _column(counts.sum(axis=1)),
            **{name: _column(counts[:, code]) for code, name in enumerate(_COUNT_COLUMNS)},
            "lost_in_evicted_ranges": _column(states["lost"]),
            "open_ranges": _ranges_column(known, range_keys[gaps], firsts[gaps], lasts[gaps]),
            "holes_before_first": _ranges_column(known, range_keys[~gaps], firsts[~gaps], lasts[~gaps]),
        }
        return pa.table(columns, schema=_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, settings: SequenceSettings = DEFAULT_SETTINGS) -> Self:
        """A tracker that continues where `to_arrow` was called, given the same settings.

        With fewer max_open_ranges than before, a key is brought under the new limit when its next range opens.

        Raises:
            ProgressError: the table is no checkpoint of a format version this code knows.
        """
        table = _require_checkpoint(table)
        tracker = cls(settings)
        tracker._codes = {tuple(key): code for code, key in enumerate(table["key"].to_pylist())}
        if len(tracker._codes) != len(table):
            raise ProgressError("sequence checkpoint holds a key twice: restore the checkpoint from a copy")
        tracker._reserve_keys()
        known = len(tracker._codes)
        states = tracker._states[:known]
        for name in _STATE_COLUMNS:
            states[name] = table[name].to_numpy()
        states["highest_evicted"] = table["highest_evicted"].fill_null(NOTHING_EVICTED).to_numpy()
        states["lost"] = table["lost_in_evicted_ranges"].to_numpy()
        states["started"] = True
        for code, name in enumerate(_COUNT_COLUMNS):
            tracker._counts[:known, code] = table[name].to_numpy()
        tracker._restore_ranges(table)
        return tracker

    def _judge(
        self,
        keys: Sequence[pa.Array | pa.ChunkedArray],
        numbers: pa.Array | pa.ChunkedArray,
        events: Int8Array,
        seen: Int8Array,
    ) -> None:
        row_keys = self._key_codes(keys)
        self._reserve_keys()
        # Arrow lends its memory read-only or not, depending on chunks; numba compiles each kind anew.
        values = numbers.to_numpy().view()
        values.flags.writeable = False
        row = 0
        while True:
            row = judge_rows(
                row, row_keys, values, self._ruling, self._states, self._counts, self._ranges, self._free, events, seen
            )
            if row == len(values):
                return
            self._add_free_slots(len(self._ranges))

    def _key_codes(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> Int64Array:
        """[rows] persistent code of each row's key; new keys get the next codes in order of arrival."""
        merged = [_one_dictionary(column) for column in columns]
        row_codes = merged[0].indices.to_numpy().astype(np.int64)
        for column in merged[1:]:
            paired = row_codes * len(column.dictionary) + column.indices.to_numpy()
            row_codes = pa.array(paired).dictionary_encode().indices.to_numpy().astype(np.int64)
        distinct = pa.array(row_codes).dictionary_encode()
        batch_codes = distinct.indices.to_numpy()
        any_row = np.empty(len(distinct.dictionary), np.int64)
        any_row[batch_codes] = np.arange(len(batch_codes))
        batch_keys = list(zip(*(column.take(pa.array(any_row)).to_pylist() for column in merged), strict=True))
        if any(None in key for key in batch_keys):
            raise ValueError("a key column holds a null; every record needs its session, exchange and symbol")
        codes = self._codes
        persistent = np.array([codes.setdefault(key, len(codes)) for key in batch_keys], np.int64)
        row_keys: Int64Array = persistent[batch_codes]
        return row_keys

    def _reserve_keys(self) -> None:
        """Make room in the per-key arrays for every known key."""
        capacity, wanted = len(self._states), len(self._codes)
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
        known = len(self._codes)
        parts = [_range_rows(table[name]) for name in ("holes_before_first", "open_ranges")]
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

    def _unseen_ranges(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        states = self._states[: len(self._codes)]
        return flatten_ranges(states, self._ranges, int(states["range_count"].sum()))


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


def _column(values: npt.NDArray[np.int64]) -> pa.Array:
    # Arrow may borrow numpy's memory, and the tracker goes on changing it.
    return pa.array(values.copy())


def _ranges_column(rows: int, keys: Int64Array, firsts: Int64Array, lasts: Int64Array) -> pa.Array:
    ends = np.cumsum(np.bincount(keys, minlength=rows)[:rows])
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    structs = pa.StructArray.from_arrays([pa.array(firsts), pa.array(lasts)], fields=list(_RANGES_TYPE.value_type))
    return pa.ListArray.from_arrays(offsets, structs, type=_RANGES_TYPE)


def _range_rows(column: pa.ChunkedArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """(key index, first, last) of each range of a list column."""
    lists = column.combine_chunks()
    keys = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    ranges = lists.flatten()
    return keys, ranges.field("first").to_numpy(), ranges.field("last").to_numpy()


def _require_checkpoint(table: pa.Table) -> pa.Table:
    version = (table.schema.metadata or {}).get(FORMAT_KEY)
    if version != FORMAT_VERSION:
        found = "no format version" if version is None else f"format version {version.decode(errors='replace')}"
        raise ProgressError(
            f"sequence checkpoint has {found}, this code reads version {FORMAT_VERSION.decode()}: "
            "run the release that wrote it, or a newer one"
        )
    try:
        return table.select(_SCHEMA.names).cast(_SCHEMA)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise ProgressError(
            f"sequence checkpoint does not have the columns of format version {FORMAT_VERSION.decode()} ({error}): "
            "restore the checkpoint from a copy"
        ) from error
