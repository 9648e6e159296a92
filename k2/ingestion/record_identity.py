"""What makes two messages the same record where no sequence number tells: the exchange's id of it, and what it says.

    exchange, symbol   whose id it is
    identifier         the field that the record type declares as such
    content            64 bits of everything else the exchange said: prices, quantities, side, venue, conditions, and
                       the time of the event, unless vendor_data says that the time of receipt stands in for it

Session and position, time of receipt and vendor_data differ between two deliveries of one record, so they are no part
of it. The content is, because ids need not be unique for ever: an exchange that counts anew every morning, or corrects
a record under its old id, gives the same id to another record, which must not be dropped. A field that is null adds
nothing, so a field that a later revision brings leaves the identity of older records what it was.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from k2.feeds.feed import EVENT_TIME_SOURCE
from k2.ingestion.bloom_filter import BoolArray, UInt64Array
from k2.records.definition import Field, Kind, RecordType

SCHEMA = pa.schema(
    [
        pa.field("exchange", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("symbol", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("content", pa.int64(), nullable=False),
    ]
)
_OF_THE_DELIVERY = {"session", "session_sequence", "receive_time_ns", "source_sequence", "vendor_data"}
_EVENT_TIME = "event_time_ns"


class RecordIdentities:
    """Reads the identities of one record type's columns."""

    def __init__(self, record_type: RecordType) -> None:
        self.identifier = record_type.identifier
        apart = {*_OF_THE_DELIVERY, _EVENT_TIME, "exchange", "symbol", record_type.identifier}
        self._content = [field for field in record_type.fields if field.name not in apart]
        self._event_time = record_type.field(_EVENT_TIME)

    def identified(self, records: pa.RecordBatch) -> BoolArray | None:
        """[rows] where a record has an id and no sequence number; None where none has.

        Args:
            records: decoded columns of the record type.
        """
        if self.identifier is None or not (null_count := records.column("source_sequence").null_count):
            return None
        has_identifier: BoolArray = records.column(self.identifier).is_valid().to_numpy(zero_copy_only=False)
        if null_count < len(records):
            has_identifier &= records.column("source_sequence").is_null().to_numpy(zero_copy_only=False)
        return has_identifier if has_identifier.any() else None

    def of(self, records: pa.RecordBatch, chosen: BoolArray) -> pa.RecordBatch:
        """The identities of the chosen rows, as SCHEMA says.

        Args:
            records: decoded columns of the record type.
            chosen: [rows] those that have an id.
        """
        assert self.identifier is not None
        content = self._content_of(records)
        columns = [records.column(name) for name in ("exchange", "symbol", self.identifier)]
        if not chosen.all():
            rows = pa.array(chosen)
            columns, content = [column.filter(rows) for column in columns], content[chosen]
        return pa.RecordBatch.from_arrays([*columns, pa.array(content.view(np.int64))], schema=SCHEMA)

    def _content_of(self, records: pa.RecordBatch) -> UInt64Array:
        content: UInt64Array = np.zeros(len(records), np.uint64)
        own_time = ~_receipt_stands_in(records)
        _add(content, records.column(_EVENT_TIME).to_numpy().view(np.uint64), _salt(self._event_time), own_time)
        for field in self._content:
            column = records.column(field.name)
            if column.null_count < len(column):
                _add(content, _values(column, field), _salt(field), _validity(column))
        return content


def identity_hashes(identities: pa.RecordBatch) -> UInt64Array:
    """[rows] 64 well mixed bits of each identity; the same for equal ones, in every process."""
    hashes: UInt64Array = identities.column("content").to_numpy().view(np.uint64).copy()
    everywhere = np.ones(len(hashes), np.bool_)
    for salt, name in enumerate(("exchange", "symbol"), start=1):
        _add(hashes, _dictionary_hashes(identities.column(name)), salt, everywhere)
    _add(hashes, _text_hashes(identities.column("identifier")), 3, everywhere)
    return hashes


def equal_identities(left: pa.RecordBatch, right: pa.RecordBatch) -> BoolArray:
    """[rows] where two batches of identities hold the same one, compared value by value."""
    equal: BoolArray = left.column("content").to_numpy() == right.column("content").to_numpy()
    for name in ("identifier", "symbol", "exchange"):
        texts = [side.column(name).cast(pa.string()) for side in (left, right)]
        equal &= pa.compute.equal(*texts).to_numpy(zero_copy_only=False)
    return equal


def joined_identities(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of identities, one at least, as one with memory of its own and no text that it does not use."""
    table = pa.Table.from_batches(parts, SCHEMA)
    names = [table.column(name).cast(pa.string()) for name in ("exchange", "symbol")]
    others = [pa.concat_arrays(table.column(name).chunks) for name in ("identifier", "content")]
    if len(parts) == 1:
        # Otherwise the one part would be lent, and with it all of the batch it is a slice of.
        everything = pa.array(np.arange(len(table)))
        others = [column.take(everything) for column in others]
    encoded = [pa.concat_arrays(column.chunks).dictionary_encode() for column in names]
    return pa.RecordBatch.from_arrays([*encoded, *others], schema=SCHEMA)


def _receipt_stands_in(records: pa.RecordBatch) -> BoolArray:
    """Where the time of the event is that of receipt, because the feed knows no other."""
    same: BoolArray = records.column(_EVENT_TIME).to_numpy() == records.column("receive_time_ns").to_numpy()
    if not same.any():
        return same
    entries = records.column("vendor_data")
    says_so = pa.compute.equal(entries.keys, EVENT_TIME_SOURCE).to_numpy(zero_copy_only=False)
    before, ends = np.append(0, np.cumsum(says_so)), entries.offsets.to_numpy()
    return np.asarray(same & (before[ends[1:]] > before[ends[:-1]]), np.bool_)


def _values(column: pa.Array, field: Field) -> UInt64Array:
    """[rows] 64 bits of each value; anything where it is null."""
    if pa.types.is_dictionary(column.type):
        return _dictionary_hashes(column)
    if field.kind is Kind.DECIMAL:
        halves = np.frombuffer(column.buffers()[1], np.uint64)[2 * column.offset : 2 * (column.offset + len(column))]
        folded: UInt64Array = _fold(halves)
        return folded
    if field.kind is Kind.LONG:
        longs: UInt64Array = column.fill_null(0).to_numpy().view(np.uint64)
        return longs
    return _text_hashes(column)


def _validity(column: pa.Array) -> BoolArray:
    valid: BoolArray = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _salt(field: Field) -> int:
    return field.field_id


def _dictionary_hashes(column: pa.DictionaryArray) -> UInt64Array:
    texts = column.dictionary.to_pylist()
    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    of_texts = np.frombuffer(b"".join(digests) or bytes(8), "<u8").astype(np.uint64)
    hashes: UInt64Array = of_texts[column.indices.fill_null(0).to_numpy()]
    return hashes


def _text_hashes(column: pa.Array) -> UInt64Array:
    _, offsets, text = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    letters = np.frombuffer(text, np.uint8) if text is not None and text.size else np.zeros(1, np.uint8)
    hashes: UInt64Array = _hash_texts(ends, letters)
    return hashes


_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def _mixed(value: np.uint64) -> np.uint64:
    """The finalizer of splitmix64: each bit of the result depends on each of the value."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _add(sums: UInt64Array, values: UInt64Array, salt: int, where: BoolArray) -> None:
    """Add a field to what is known of each row; the salt tells it from other fields of the same value."""
    added = _mixed(np.uint64(salt) * _PRIME)
    for row in range(len(sums)):
        if where[row]:
            sums[row] = _mixed((sums[row] ^ _mixed(values[row] ^ added)) + _PRIME)


@njit(cache=True, nogil=True)
def _fold(halves: UInt64Array) -> UInt64Array:
    folded = np.empty(len(halves) // 2, np.uint64)
    for row in range(len(folded)):
        folded[row] = _mixed(halves[2 * row] + _PRIME) ^ halves[2 * row + 1]
    return folded


@njit(cache=True, nogil=True)
def _hash_texts(ends: npt.NDArray[np.int32], letters: npt.NDArray[np.uint8]) -> UInt64Array:
    hashes = np.empty(len(ends) - 1, np.uint64)
    for row in range(len(hashes)):
        hashed = np.uint64(ends[row + 1] - ends[row])
        for place in range(ends[row], ends[row + 1]):
            hashed = (hashed ^ np.uint64(letters[place])) * _PRIME
            hashed ^= hashed >> np.uint64(29)
        hashes[row] = _mixed(hashed)
    return hashes
