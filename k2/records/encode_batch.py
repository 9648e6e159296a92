"""Many records to Kafka message values at once: the same bytes and the same refusals as RecordEncoder's, faster.

Records become Arrow columns, columns become messages in a compiled loop. The fast path takes a batch only if every
value in it is of the plainest type and fits; a batch with anything else in it is halved until what is left is taken
record by record, so that RecordEncoder alone decides what is refused, and why.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2.errors import RecordError
from k2.records import encode_kernel as kernel
from k2.records.definition import Field, Kind, RecordType
from k2.records.encode import RecordEncoder
from k2.records.encode_kernel import ColumnValues, Texts
from k2.records.encoded import EncodedBatch, Refusal, message_key
from k2.records.schemas import DECIMAL_TYPE

# Where halving a batch that does not fit costs more than encoding its records one by one.
_SMALL_BATCH = 32
_FRAME_BYTES = 5

# The kernel is compiled for arrays that can only be read; any that could be written would have it compiled once more.
_NO_BYTES = np.frombuffer(b"", np.uint8)
_NO_NUMBERS = np.frombuffer(b"", np.int64)
_NO_TEXTS = Texts(np.frombuffer(bytes(4), np.int32), _NO_BYTES)

Record = Mapping[str, Any]
_Element = TypeVar("_Element", bound=np.generic)


class BatchEncoder:
    """Encodes batches of one record type and one asset class under one registered schema.

    Args:
        record_type: what the records hold; the schema is the one derived from it.
        asset_class: what every record must say.
        schema_id: the registry's id of that schema.
    """

    def __init__(self, record_type: RecordType, asset_class: str, schema_id: int) -> None:
        self._record_type = record_type
        self._asset_class = asset_class
        self._one = RecordEncoder(record_type, schema_id)
        self._frame = np.frombuffer(b"\x00" + schema_id.to_bytes(4, "big"), np.uint8)
        self._names = [field.name for field in record_type.fields]

    def encode(self, records: Sequence[Record] | pa.RecordBatch) -> EncodedBatch:
        """The messages of a batch.

        Args:
            records: as RecordEncoder takes them; or columns named after the fields, of the types of
                k2.records.schemas.arrow_schema or ones that Arrow casts to them without loss.

        Raises:
            RecordError: columns whose names are not those of the fields.
        """
        if isinstance(records, pa.RecordBatch):
            if sorted(records.schema.names) != sorted(self._names):
                raise RecordError(f"columns of {self._record_type.name} must be {', '.join(self._names)}")
            try:
                return self._from_columns([records.column(name) for name in self._names], 0)
            except _UnfitBatchError:
                records = _rows(self._record_type, records)
        return _joined(self._parts(records, 0, len(records)))

    def _parts(self, records: Sequence[Record], first: int, end: int) -> list[EncodedBatch]:
        if first == end:
            return []
        try:
            return [self._from_columns(self._columns(records[first:end]), first)]
        except _UnfitBatchError:
            if end - first <= _SMALL_BATCH:
                return [self._one_by_one(records, first, end)]
            middle = (first + end) // 2
            return self._parts(records, first, middle) + self._parts(records, middle, end)

    def _one_by_one(self, records: Sequence[Record], first: int, end: int) -> EncodedBatch:
        keys, values, indices, refusals = list[bytes](), list[bytes](), list[int](), list[Refusal]()
        for index in range(first, end):
            record = records[index]
            try:
                if record.get("asset_class") != self._asset_class:
                    raise RecordError(f"the record says {record.get('asset_class')}, the batch {self._asset_class}")
                values.append(self._one.encode(record))
            except RecordError as error:
                refusals.append(Refusal(index, error))
                continue
            keys.append(message_key(record["exchange"], record["symbol"]))
            indices.append(index)
        return EncodedBatch(keys, values, indices, tuple(refusals))

    def _columns(self, records: Sequence[Record]) -> list[pa.Array]:
        """The columns of records that all have exactly the fields of the type, in the order of its fields."""
        fields = self._record_type.fields
        if sum(map(len, records)) != len(records) * len(fields):
            raise _UnfitBatchError
        try:
            # As many entries as fields, and every field is there: so there is no other.
            return [_column(field, [record[field.name] for record in records]) for field in fields]
        except (KeyError, pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise _UnfitBatchError from error

    def _from_columns(self, columns: Sequence[pa.Array], first: int) -> EncodedBatch:
        rows = len(columns[0])
        fields = self._record_type.fields
        by_name = dict(zip(self._names, columns, strict=True))
        try:
            plain = [_plain(field, column) for field, column in zip(fields, columns, strict=True)]
        except pa.ArrowException as error:
            raise _UnfitBatchError from error
        if not pc.all(pc.equal(by_name["asset_class"], self._asset_class), min_count=0).as_py():
            raise _UnfitBatchError
        values = [_values(field, column) for field, column in zip(fields, plain, strict=True)]
        room = np.full(rows, _FRAME_BYTES, np.int64)
        for column_values in values:
            room += _most_bytes(column_values)
        starts = np.zeros(rows + 1, np.int64)
        np.cumsum(room, out=starts[1:])
        out = np.empty(int(starts[-1]), np.uint8)
        out[starts[:-1, None] + np.arange(_FRAME_BYTES)] = self._frame
        cursors = starts[:-1] + _FRAME_BYTES
        for column_values in values:
            kernel.write_column(out, cursors, column_values)
        text = out.tobytes()
        messages = [text[start:end] for start, end in zip(starts[:-1].tolist(), cursors.tolist(), strict=True)]
        keys = _keys(by_name["exchange"], by_name["symbol"])
        return EncodedBatch(keys, messages, range(first, first + rows))


class _UnfitBatchError(Exception):
    """Something in a batch is not for the fast path."""


def _joined(parts: Sequence[EncodedBatch]) -> EncodedBatch:
    if len(parts) == 1:
        return parts[0]
    return EncodedBatch(
        list(chain.from_iterable(part.keys for part in parts)),
        list(chain.from_iterable(part.values for part in parts)),
        list(chain.from_iterable(part.indices for part in parts)),
        tuple(chain.from_iterable(part.refusals for part in parts)),
    )


_PLAIN_TYPES: Mapping[Kind, tuple[frozenset[type], ...]] = {
    Kind.STRING: (frozenset({str}),),
    Kind.ENUM: (frozenset({str}),),
    Kind.LONG: (frozenset({int}),),
    Kind.DECIMAL: (frozenset({str}), frozenset({Decimal})),
    Kind.STRING_MAP: (frozenset({dict}),),
}


def _column(field: Field, values: list[Any]) -> pa.Array:
    """Values as an Arrow array, if all are of the plainest type of their kind."""
    kinds = set(map(type, values))
    if field.nullable:
        kinds.discard(type(None))
    if not any(kinds <= plain for plain in _PLAIN_TYPES[field.kind]):
        raise _UnfitBatchError
    match field.kind:
        case Kind.LONG:
            return pa.array(values, pa.int64())
        case Kind.DECIMAL if kinds == {Decimal}:
            return pa.array(values, DECIMAL_TYPE)
        case Kind.STRING_MAP:
            return _map_column(values)
        case _:
            return pa.array(values, pa.string())


def _map_column(maps: list[dict[Any, Any]]) -> pa.Array:
    keys = list(chain.from_iterable(maps))
    items = list(chain.from_iterable(entries.values() for entries in maps))
    if not {*map(type, keys), *map(type, items)} <= {str}:
        raise _UnfitBatchError
    offsets = np.zeros(len(maps) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, maps), np.int32, len(maps)), out=offsets[1:])
    return pa.MapArray.from_arrays(pa.array(offsets), pa.array(keys, pa.string()), pa.array(items, pa.string()))


def _plain(field: Field, column: pa.Array) -> pa.Array:
    """A column in the one Arrow type its kind is written from; symbols become their numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count and not field.nullable:
        raise _UnfitBatchError
    match field.kind:
        case Kind.LONG:
            return column.cast(pa.int64())
        case Kind.STRING:
            return column.cast(pa.string())
        case Kind.DECIMAL:
            return column.cast(DECIMAL_TYPE)
        case Kind.STRING_MAP:
            return column.cast(pa.map_(pa.string(), pa.string()))
        case Kind.ENUM:
            numbers = pc.index_in(column.cast(pa.string()), pa.array(field.symbols, pa.string()))
            if numbers.null_count > column.null_count:
                raise _UnfitBatchError
            return numbers.cast(pa.int64())


def _values(field: Field, column: pa.Array) -> ColumnValues:
    """What the kernel reads of a plain column."""
    rows = len(column)
    validity = _NO_BYTES
    if column.null_count:
        validity = _elements(column.is_valid().cast(pa.uint8()).buffers()[1], np.uint8, 0, rows)
    numbers, entry_offsets, texts, entry_values = _NO_NUMBERS, _NO_TEXTS.offsets, _NO_TEXTS, _NO_TEXTS
    match field.kind:
        case Kind.STRING:
            kind, texts = kernel.TEXTS, _texts(column)
        case Kind.DECIMAL:
            kind, numbers = kernel.DECIMALS, _elements(column.buffers()[1], np.int64, 2 * column.offset, 2 * rows)
        case Kind.STRING_MAP:
            kind, entry_offsets = kernel.MAPS, _elements(column.buffers()[1], np.int32, column.offset, rows + 1)
            texts, entry_values = _texts(column.keys), _texts(column.items)
            if column.keys.null_count or column.items.null_count:
                raise _UnfitBatchError
        case _:
            kind, numbers = kernel.LONGS, _elements(column.buffers()[1], np.int64, column.offset, rows)
    return ColumnValues(kind, field.nullable, validity, numbers, entry_offsets, texts, entry_values)


def _texts(column: pa.Array) -> Texts:
    _, offsets, data = column.buffers()
    return Texts(
        _elements(offsets, np.int32, column.offset, len(column) + 1),
        _elements(data, np.uint8, 0, data.size if data else 0),
    )


def _elements(
    buffer: pa.Buffer | bytes | None, element: type[_Element], first: int, count: int
) -> npt.NDArray[_Element]:
    if buffer is None or not len(buffer):
        buffer = bytes(count * np.dtype(element).itemsize)
    elements = np.frombuffer(buffer, element)[first : first + count]
    elements.flags.writeable = False
    return elements


def _most_bytes(column: ColumnValues) -> npt.NDArray[np.int64] | int:
    """The most bytes that each row of a column can take; one number where that is the same for all."""
    branch = kernel.BRANCH_BYTES if column.nullable else 0
    if column.kind == kernel.LONGS:
        return branch + kernel.LONG_BYTES
    if column.kind == kernel.DECIMALS:
        return branch + kernel.DECIMAL_BYTES
    if column.kind == kernel.TEXTS:
        return branch + kernel.LENGTH_BYTES + np.diff(column.texts.offsets).astype(np.int64)
    entries = np.diff(column.entry_offsets)
    ends = column.entry_offsets
    bounds = column.texts.offsets[ends].astype(np.int64) + column.entry_values.offsets[ends]
    return branch + kernel.LENGTH_BYTES + 1 + 2 * kernel.LENGTH_BYTES * entries + np.diff(bounds)


def _keys(exchanges: pa.Array, symbols: pa.Array) -> list[bytes]:
    joined = pc.binary_join_element_wise(exchanges.cast(pa.string()), symbols.cast(pa.string()), ":")
    found: list[bytes] = joined.cast(pa.binary()).to_pylist()
    return found


def _rows(record_type: RecordType, columns: pa.RecordBatch) -> list[dict[str, Any]]:
    """Columns as records; Arrow gives maps as lists of pairs."""
    rows: list[dict[str, Any]] = columns.to_pylist()
    for field in record_type.fields:
        if field.kind is Kind.STRING_MAP:
            for row in rows:
                row[field.name] = dict(row[field.name] or ())
    return rows
