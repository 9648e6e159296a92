"""The last ids of a partition, so that a record that comes again is recognised although no number tells.

Ids go into segments of a quarter of the window. Four full ones and the one being filled are known; when that is full,
the oldest is forgotten. So at least `window_ids` ids are known, once so many have come, and never more than a quarter
beyond. Which ones follows from the ids and their order alone: not from time, batches or restarts.

In front stands a Bloom filter. What it has never seen is new, and nothing more is asked. What it may have seen is
looked up in the segments, identity by identity, so a false positive costs time and never a record.

The checkpoint is an Arrow table with a row for each segment, the oldest first:

    segment    binary    an Arrow stream, compressed, of the identities in order of arrival, see record_identity

Whoever loads it with another `window_ids` has the newest ids that fit.
"""

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2.errors import ProgressError
from k2.ingestion.bloom_filter import BoolArray, RollingBloomFilter, UInt64Array
from k2.ingestion.record_identity import SCHEMA, equal_identities, identity_hashes, joined_identities
from k2.settings import DeduplicationSettings

FULL_SEGMENTS = 4
CHECKPOINT_SCHEMA = pa.schema([pa.field("segment", pa.binary())])
_FORMAT_KEY = b"k2.identifiers.format"
_FORMAT = b"1"
_WRITTEN_SCHEMA = SCHEMA.with_metadata({_FORMAT_KEY: _FORMAT})
_COMPRESSION = pa.ipc.IpcWriteOptions(compression="zstd")
_NO_ROW = -1
Rows = npt.NDArray[np.int64]


class IdentifierWindow:
    """Recognises identities among the last ones. One thread at a time.

    Attributes:
        filter_hits: how often the filter said "may be known".
    """

    def __init__(self, settings: DeduplicationSettings) -> None:
        self._segment_ids = -(-settings.window_ids // FULL_SEGMENTS)
        self._full: deque[_Segment] = deque(maxlen=FULL_SEGMENTS)
        self._filling: list[_Segment] = []
        self._filter = RollingBloomFilter(FULL_SEGMENTS + 1, max(1, self._segment_ids), settings.filter_error_rate)
        self.filter_hits = 0

    @property
    def ids(self) -> int:
        """How many are known now."""
        return sum(len(segment) for segment in (*self._full, *self._filling))

    @property
    def memory_bytes(self) -> int:
        """Bytes held: the filter, the identities and their hashes."""
        return self._filter.memory_bytes + sum(segment.memory_bytes for segment in (*self._full, *self._filling))

    def recognise(self, identities: pa.RecordBatch) -> BoolArray:
        """[rows] where an identity is known already, from before or from an earlier row; the others are known now.

        Args:
            identities: as record_identity.SCHEMA says, in order of arrival.
        """
        known: BoolArray = np.zeros(len(identities), np.bool_)
        if not self._segment_ids:
            return known
        for start, part in self._parts(identities):
            known[start : start + len(part)] = self._recognise(part)
        return known

    def to_arrow(self) -> pa.Table:
        """The window as a checkpoint; no rows while no id is known."""
        segments = [*self._full, *([self._filled_so_far()] if self._filling else [])]
        return pa.table([pa.array([segment.stream for segment in segments], pa.binary())], schema=CHECKPOINT_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, settings: DeduplicationSettings) -> Self:
        """A window that continues where `to_arrow` was called.

        Raises:
            ProgressError: this release did not write it, or an earlier one did not either.
        """
        window = cls(settings)
        for identities in _read(table) if window._segment_ids else ():
            for _, part in window._parts(identities):
                window._filter.seen_or_add(part.hashes)
                window._take_in(part)
        return window

    def _parts(self, identities: pa.RecordBatch) -> Iterator[tuple[int, "_Segment"]]:
        """First row and content of each part, none larger than what the segment has room for when it is asked for."""
        hashes = identity_hashes(identities)
        start = 0
        while start < len(identities):
            stop = min(len(identities), start + self._segment_ids - self._filling_ids())
            yield start, _Segment(identities.slice(start, stop - start), hashes[start:stop])
            start = stop

    def _recognise(self, part: "_Segment") -> BoolArray:
        hit = self._filter.seen_or_add(part.hashes)
        known: BoolArray = np.zeros(len(part), np.bool_)
        asked = np.flatnonzero(hit)
        if len(asked):
            self.filter_hits += len(asked)
            known[asked] = self._confirmed(part, asked)
        if not known.all():
            new = pa.array(np.flatnonzero(~known))
            self._take_in(_Segment(part.identities.take(new), part.hashes[~known]))
        return known

    def _confirmed(self, part: "_Segment", asked: Rows) -> BoolArray:
        """[asked] whether each of these rows is known, or the same as an earlier row of the part."""
        confirmed: BoolArray = part.first_rows(part, asked) < asked
        earlier = ([self._filled_so_far()] if self._filling else []) + list(reversed(self._full))
        for segment in earlier:
            left = np.flatnonzero(~confirmed)
            if not len(left):
                break
            confirmed[left] = segment.first_rows(part, asked[left]) != _NO_ROW
        return confirmed

    def _take_in(self, segment: "_Segment") -> None:
        self._filling.append(segment)
        if self._filling_ids() == self._segment_ids:
            self._full.append(_joined(self._filling))
            self._filling = []
            self._filter.roll()

    def _filling_ids(self) -> int:
        return sum(len(segment) for segment in self._filling)

    def _filled_so_far(self) -> "_Segment":
        if len(self._filling) > 1:
            self._filling = [_joined(self._filling)]
        return self._filling[0]


class _Segment:
    """Identities in order of arrival with their hashes; what is made of them is made once, when it is asked for."""

    def __init__(self, identities: pa.RecordBatch, hashes: UInt64Array) -> None:
        self.identities = identities
        self.hashes = hashes

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def memory_bytes(self) -> int:
        return int(self.identities.nbytes + self.hashes.nbytes)

    @cached_property
    def stream(self) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, _WRITTEN_SCHEMA, options=_COMPRESSION) as writer:
            # Joined even where it is one, for what is written not to depend on the batches it came in.
            writer.write_batch(joined_identities([self.identities]))
        body: bytes = sink.getvalue().to_pybytes()
        return body

    def first_rows(self, other: "_Segment", rows: Rows) -> Rows:
        """[rows] first row here of the identity that each of these rows of the other has; -1 where there is none."""
        found = np.full(len(rows), _NO_ROW, np.int64)
        order, ordered = self._by_hash
        wanted = other.hashes[rows]
        places = np.searchsorted(ordered, wanted)
        left = np.arange(len(rows))
        # Equal hashes lie side by side, the first to arrive first; different identities of one hash are passed by.
        while True:
            left = left[places[left] < len(ordered)]
            left = left[ordered[places[left]] == wanted[left]]
            if not len(left):
                return found
            here = order[places[left]]
            equal = equal_identities(self.identities.take(pa.array(here)), other.identities.take(pa.array(rows[left])))
            found[left[equal]] = here[equal]
            left = left[~equal]
            places[left] += 1

    @cached_property
    def _by_hash(self) -> tuple[Rows, UInt64Array]:
        order = np.argsort(self.hashes, kind="stable")
        return order, self.hashes[order]


def _joined(segments: list[_Segment]) -> _Segment:
    """Several as one with memory of its own, so that nothing holds on to the batches they came in."""
    identities = joined_identities([segment.identities for segment in segments])
    return _Segment(identities, np.concatenate([segment.hashes for segment in segments]))


def _read(table: pa.Table) -> Iterator[pa.RecordBatch]:
    remedy = "roll the table back to a snapshot whose state is whole"
    for stream in table.column("segment").to_pylist():
        try:
            with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
                schema, batches = reader.schema, list(reader)
        except (pa.ArrowException, TypeError) as error:
            raise ProgressError(f"the state checkpoint's known ids cannot be read ({error}): {remedy}") from error
        written = (schema.metadata or {}).get(_FORMAT_KEY, b"none").decode(errors="replace")
        if written != _FORMAT.decode():
            raise ProgressError(
                f"the state checkpoint's known ids have format {written}, this release reads {_FORMAT.decode()}: run "
                "the release that wrote it, or a newer one"
            )
        if not schema.equals(SCHEMA):
            raise ProgressError(f"the state checkpoint's known ids have other columns than theirs: {remedy}")
        for batch in batches:
            if any(column.null_count for column in batch.columns):
                raise ProgressError(f"the state checkpoint's known ids have nulls: {remedy}")
            yield batch
