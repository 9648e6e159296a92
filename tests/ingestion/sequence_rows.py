"""Rows for the tests of the sequence trackers, their columns, and the scalar tracker behind the same keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from k2.ingestion.sequence_batch import NOT_JUDGED, Key, SequenceBatchResult, SequenceBatchTracker
from k2.ingestion.sequence_tracker import SequenceStatistics, SequenceTracker
from k2.settings import SequenceSettings

SMALL = SequenceSettings(reset_highest_number=3, reset_lowest_distance=12, duplicate_window=4, max_open_ranges=2)

Column: TypeAlias = "pa.Array | pa.ChunkedArray"


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its session, exchange and symbol, its number if it has one, and whether that may start anew."""

    key: Key
    number: int | None
    may_reset: bool = True


class ReferenceModel:
    """The scalar tracker behind three-part keys. `keys` has those it knows, and has known, in order of arrival."""

    def __init__(self, sequence_settings: SequenceSettings) -> None:
        self.tracker = SequenceTracker(sequence_settings)
        self.keys: list[Key] = []

    def judge(self, row: Row) -> tuple[int, int]:
        if row.number is None:
            return NOT_JUDGED, NOT_JUDGED
        if not self.statistics(row.key)["total_messages"]:
            self.keys = [*(key for key in self.keys if key != row.key), row.key]
        return self.tracker.judge(*self._two_parts(row.key), row.number, row.may_reset)

    def open_gaps(self) -> list[tuple[Key, int, int]]:
        return [(key, first, last) for key in self.keys for first, last in self.tracker.get_gaps(*self._two_parts(key))]

    def statistics(self, key: Key) -> SequenceStatistics:
        return self.tracker.get_statistics(*self._two_parts(key))

    def _two_parts(self, key: Key) -> tuple[str, str]:
        return repr(key[:-1]), key[-1]


def encoded(values: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def key_columns(rows: Sequence[Row], chunk_at: int | None = None) -> list[Column]:
    columns: list[Column] = []
    for part in range(3):
        values = [row.key[part] for row in rows]
        if chunk_at is None:
            columns.append(encoded(values))
        else:
            columns.append(pa.chunked_array([encoded(values[:chunk_at]), encoded(values[chunk_at:])]))
    return columns


def check(tracker: SequenceBatchTracker, rows: Sequence[Row], chunk_at: int | None = None) -> SequenceBatchResult:
    numbers = [row.number for row in rows]
    column = pa.array(numbers, pa.int64())
    if chunk_at is not None:
        column = pa.chunked_array([column.slice(0, chunk_at), column.slice(chunk_at)])
    may_reset = np.array([row.may_reset for row in rows], np.bool_)
    return tracker.check(key_columns(rows, chunk_at), column, may_reset)


def check_one_key(tracker: SequenceBatchTracker, numbers: Sequence[int | None]) -> SequenceBatchResult:
    return check(tracker, [Row(("s1", "ASX", "BHP"), number) for number in numbers])


def rows_of(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[list[Row]]:
    """Rows of eight keys, many of one of them."""
    key = st.tuples(st.sampled_from(["s1", "s2"]), st.sampled_from(["ASX", "BINANCE"]), st.sampled_from(["BHP", "CBA"]))
    one_key = st.just(("s1", "ASX", "BHP"))
    return st.lists(st.builds(Row, key | one_key, numbers | st.none()), max_size=80)
