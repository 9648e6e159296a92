"""The memory the kernel writes into, and the Arrow arrays that look at it afterwards without copying a row."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from k2.records import avro_arrays as arrays
from k2.records.avro_program import Column, Layout
from k2.records.definition import Field, RecordType

# Slots a dictionary starts with; the kernel doubles them as distinct strings come.
_FIRST_SLOTS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBuffers:
    """Room for the columns of a batch, sized by its bodies so that no content can overflow it.

    Texts get as many bytes as there are in all bodies; what is not written costs address space, not memory.
    """

    layout: Layout
    columns: arrays.Columns
    dictionaries: arrays.Dictionaries

    @classmethod
    def of(cls, layout: Layout, bodies: int, body_bytes: int) -> "ColumnBuffers":
        """Room for so many bodies of so many bytes together."""
        slots = layout.slots
        dictionary_count = slots["dictionaries"]
        most_slots = 2 << max(bodies, 1).bit_length()
        first_slots = min(_FIRST_SLOTS, most_slots)
        columns = arrays.Columns(
            longs=np.empty((slots["longs"], bodies), np.int64),
            decimals=np.empty((slots["decimals"], 2 * bodies), np.int64),
            indices=np.empty((slots["indices"], bodies), np.int32),
            offsets=np.empty((slots["offsets"], bodies + 1), np.int32),
            texts=np.empty((slots["texts"], body_bytes + arrays.PADDING_BYTES), np.uint8),
            # An entry takes two bytes at least; one more place for an entry whose value turns out to be cut off.
            entry_offsets=np.empty((slots["entry_offsets"], body_bytes // 2 + 2), np.int32),
            validity=np.empty((slots["validity"], bodies), np.uint8),
        )
        columns.offsets[:, 0] = 0
        columns.entry_offsets[:, 0] = 0
        dictionaries = arrays.Dictionaries(
            slots=np.empty((dictionary_count, most_slots), np.int32),
            entries=np.empty((dictionary_count, bodies, arrays.ENTRY_WORDS), np.int64),
            state=np.zeros((dictionary_count, arrays.STATE_WORDS), np.int64),
        )
        dictionaries.slots[:, :first_slots] = 0
        dictionaries.state[:, arrays.SLOTS] = first_slots
        dictionaries.state[:, arrays.LATEST] = -1
        return cls(layout, columns, dictionaries)

    def record_batch(
        self, record_type: RecordType, schema: pa.Schema, data: arrays.UInt8s, rows: int
    ) -> pa.RecordBatch:
        """The first `rows` rows as a pa.RecordBatch of `schema`; `data` is what the bodies were read from."""
        built = [
            self._array(field, column, schema.field(field.name).type, data, rows)
            for field, column in zip(record_type.fields, self.layout.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(built, schema=schema)

    def _array(self, field: Field, column: Column, arrow_type: pa.DataType, data: arrays.UInt8s, rows: int) -> pa.Array:
        columns = self.columns
        null_count, bitmap = 0, None
        if column.validity >= 0:
            valid = columns.validity[column.validity, :rows]
            null_count = rows - int(np.count_nonzero(valid))
            bitmap = pa.py_buffer(np.packbits(valid, bitorder="little")) if null_count else None
        if column.operation == arrays.OP_LONG:
            values = pa.py_buffer(columns.longs[column.slot, :rows])
            return pa.Array.from_buffers(arrow_type, rows, [bitmap, values], null_count)
        if column.operation == arrays.OP_DECIMAL:
            values = pa.py_buffer(columns.decimals[column.slot, : 2 * rows])
            return pa.Array.from_buffers(arrow_type, rows, [bitmap, values], null_count)
        if column.operation in (arrays.OP_ENUM, arrays.OP_DICTIONARY):
            indices, values = self._indices(field, column, data, rows)
            buffers = [bitmap, pa.py_buffer(indices)]
            return pa.DictionaryArray.from_buffers(arrow_type, rows, buffers, values, null_count)
        offsets = columns.offsets[column.slot, : rows + 1]
        if column.operation == arrays.OP_STRING:
            return _strings(offsets, columns.texts[column.text], bitmap, null_count)
        parts = [
            _strings(columns.entry_offsets[column.entries + part, : offsets[-1] + 1], columns.texts[column.text + part])
            for part in (0, 1)
        ]
        entries = pa.StructArray.from_arrays(parts, fields=[arrow_type.key_field, arrow_type.item_field])
        return pa.Array.from_buffers(arrow_type, rows, [bitmap, pa.py_buffer(offsets)], null_count, children=[entries])

    def _indices(self, field: Field, column: Column, data: arrays.UInt8s, rows: int) -> tuple[arrays.Int32s, pa.Array]:
        """Indices and distinct values of a dictionary column."""
        indices = self.columns.indices[column.slot, :rows]
        if column.operation == arrays.OP_ENUM:
            return indices, pa.array(field.symbols, pa.string())
        state = self.dictionaries.state[column.dictionary]
        entries = int(state[arrays.ENTRIES])
        starts = self.dictionaries.entries[column.dictionary, :entries, arrays.START]
        lengths = self.dictionaries.entries[column.dictionary, :entries, arrays.LENGTH]
        offsets = np.zeros(entries + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        # Place in `data` of each byte of the values one after another.
        places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        values = _strings(offsets, data[places])
        if state[arrays.OVERFLOWED]:
            merged = values.dictionary_encode()
            return merged.indices.to_numpy()[indices], merged.dictionary
        return indices, values


def _strings(
    offsets: arrays.Int32s, text: arrays.UInt8s, bitmap: pa.Buffer | None = None, null_count: int = 0
) -> pa.Array:
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(text[: offsets[-1]])]
    return pa.Array.from_buffers(pa.string(), offsets.size - 1, buffers, null_count)
