"""Message bodies to Arrow columns: framing, schema lookup and the compiled walk, without a Python object per record.

Pure: no client, no clock; schemas come from a mapping or a function. A message that cannot be read exactly becomes a
Reject and never disturbs its neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2.errors import RecordError, SchemaError
from k2.records import avro_arrays as arrays
from k2.records.avro_kernel import walk
from k2.records.avro_program import Layout, Program, WriterSchema, compile_program, link
from k2.records.column_buffers import ColumnBuffers
from k2.records.definition import TRADE, RecordType
from k2.records.schemas import arrow_schema, avro_schema

FRAME_BYTES = 5

# Arrow counts the bytes of a string column in 32 bits.
MAXIMUM_BATCH_BYTES = 2**31 - 1 - arrays.PADDING_BYTES

# join goes over its parts twice: so many messages are still in the processor's cache the second time.
_JOINED_AT_ONCE = 4096

# Stable reason code and explanation of each of the kernel's verdicts.
_VERDICTS = {
    arrays.TRUNCATED: ("truncated", "it ends beyond the end of the message"),
    arrays.TRAILING_BYTES: ("trailing_bytes", "bytes are left after the last field"),
    arrays.BAD_VARINT: ("bad_varint", "the number is longer than its type"),
    arrays.NEGATIVE_LENGTH: ("negative_length", "the length is below zero"),
    arrays.BAD_UNION: ("bad_union_branch", "the union has no such branch"),
    arrays.BAD_ENUM: ("bad_enum_index", "the enum has no such symbol"),
    arrays.UNKNOWN_SYMBOL: ("unknown_enum_symbol", "the writer's symbol is none of ours"),
    arrays.DECIMAL_TOO_WIDE: ("decimal_too_wide", "the decimal has more digits than its precision"),
    arrays.EMPTY_DECIMAL: ("empty_decimal", "the decimal has no bytes"),
    arrays.BAD_UTF8: ("bad_utf8", "the string is not UTF-8"),
    arrays.BAD_COUNT: ("bad_block_count", "the block claims more items than bytes are left"),
    arrays.BAD_BLOCK_SIZE: ("bad_block_size", "the block does not end where its size says"),
    arrays.BAD_BOOLEAN: ("bad_boolean", "the boolean is neither 0 nor 1"),
    arrays.UNEXPECTED_NULL: ("unexpected_null", "it is null, and no record can do without it"),
}

REASONS = {
    "null_value": "the message has no value",
    "not_framed": "it does not begin with a zero and a schema id",
    "unknown_schema_id": "the registry knows no schema of its id",
    "incompatible_schema": "its schema cannot be read exactly as this record type",
    **dict(_VERDICTS.values()),
}
"""Every reason for which a message is not decoded, and what it means."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that did not become a row.

    Attributes:
        index: position in the messages given.
        reason: stable code, such as "truncated".
        detail: one line for a person.
        stage: the step of the journey that refused it.
    """

    index: int
    reason: str
    detail: str
    stage: str = "decode"


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBatch:
    """The good rows of a batch, in arrival order, and the rejects in order of their index.

    Attributes:
        columns: schema k2.records.schemas.arrow_schema(record_type).
        rows: int64 [rows]; index into the messages of each row.
        schema_ids: int32 [rows]; the schema each row was written with.
        rejects: what did not become a row.
    """

    columns: pa.RecordBatch
    rows: arrays.Int64s
    schema_ids: arrays.Int32s
    rejects: tuple[Reject, ...]


class BatchDecoder:
    """Decodes messages of one record type, whatever schemas they were written with. One thread at a time.

    Args:
        record_type: what the messages hold.
        writer_schemas: schema id -> Avro schema; or a function that raises SchemaError for an id that does not exist.
            An id that was found is not asked for again; one that was not is asked for once a batch.
    """

    def __init__(
        self, record_type: RecordType, writer_schemas: Mapping[int, WriterSchema] | Callable[[int], WriterSchema]
    ) -> None:
        self._record_type = record_type
        self._lookup = _lookup_in(writer_schemas) if isinstance(writer_schemas, Mapping) else writer_schemas
        self._arrow_schema = arrow_schema(record_type)
        self._layout = Layout.of(record_type)
        self._outcomes: dict[int, int | _Failure] = {}
        self._programs: list[Program] = []
        self._linked = link([])

    def decode(self, messages: Sequence[bytes | None]) -> DecodedBatch:
        """Columns of the messages that can be read exactly, and a reject for each of the others.

        Raises:
            RecordError: the batch is too large for Arrow's 32-bit offsets.
            Exception: whatever the lookup of a schema raises but SchemaError; nothing was decoded then.
        """
        frames = _Frames.of(messages)
        rejects = frames.rejects()
        programs = self._programs_by_message(frames, rejects)
        numbers = np.flatnonzero(programs >= 0)
        bodies = arrays.Bodies(
            frames.data, frames.starts[numbers] + FRAME_BYTES, frames.ends[numbers], programs[numbers]
        )
        buffers = ColumnBuffers.of(self._layout, numbers.size, int(np.sum(bodies.ends - bodies.starts)))
        verdicts = arrays.Verdicts.of(numbers.size)
        rows = numbers[verdicts.rows[: self._walk(bodies, buffers, verdicts)]]
        rejects += self._walk_rejects(numbers, bodies.programs, verdicts)
        rejects.sort(key=lambda reject: reject.index)
        columns = buffers.record_batch(self._record_type, self._arrow_schema, frames.data, rows.size)
        return DecodedBatch(columns, rows, frames.schema_ids[rows], tuple(rejects))

    def _walk(self, bodies: arrays.Bodies, buffers: ColumnBuffers, verdicts: arrays.Verdicts) -> int:
        if not bodies.starts.size:
            return 0
        nesting = max(program.nesting for program in self._programs)
        blocks = np.empty((2, nesting + 1), np.int64)
        return int(walk(bodies, self._linked, buffers.columns, buffers.dictionaries, verdicts, blocks))

    def _programs_by_message(self, frames: "_Frames", rejects: list[Reject]) -> arrays.Int32s:
        """int32 [messages]: the number of the program that reads each message, -1 for what was rejected."""
        programs = np.full(frames.starts.size, -1, np.int32)
        framed = np.flatnonzero(frames.is_framed)
        ids = frames.schema_ids[framed]
        if ids.size and (ids == ids[0]).all():
            # Nearly every batch, and sorting its ids would take longer than decoding it.
            distinct, inverse = ids[:1], np.zeros(ids.size, np.intp)
        else:
            distinct, inverse = np.unique(ids, return_inverse=True)
        outcomes = [self._outcome(schema_id) for schema_id in distinct.tolist()]
        found = np.array([outcome if isinstance(outcome, int) else -1 for outcome in outcomes], np.int32)
        programs[framed] = found[inverse]
        for place in np.flatnonzero(programs[framed] < 0).tolist():
            failure = outcomes[inverse[place]]
            assert isinstance(failure, _Failure)
            rejects.append(Reject(int(framed[place]), failure.reason, failure.detail))
        return programs

    def _outcome(self, schema_id: int) -> "int | _Failure":
        if schema_id in self._outcomes:
            return self._outcomes[schema_id]
        try:
            schema = self._lookup(schema_id)
        except SchemaError as error:
            return _Failure("unknown_schema_id", f"schema id {schema_id}: {error}")
        try:
            self._programs.append(compile_program(self._record_type, schema))
            self._linked = link(self._programs)
            self._outcomes[schema_id] = len(self._programs) - 1
        except SchemaError as error:
            self._outcomes[schema_id] = _Failure("incompatible_schema", f"schema id {schema_id}: {error}")
        return self._outcomes[schema_id]

    def _walk_rejects(self, numbers: arrays.Int64s, programs: arrays.Int32s, verdicts: arrays.Verdicts) -> list[Reject]:
        rejects = []
        for body in np.flatnonzero(verdicts.codes != arrays.OK).tolist():
            reason, explanation = _VERDICTS[int(verdicts.codes[body])]
            field = self._programs[programs[body]].fields[verdicts.instructions[body]] or "the record"
            place = f"{field} at byte {verdicts.positions[body]} of the body"
            rejects.append(Reject(int(numbers[body]), reason, f"{place}: {explanation}"))
        return rejects


def warm_up() -> None:
    """Load the compiled walk, or compile it where it never ran (seconds), so that the first batch does not wait."""
    BatchDecoder(TRADE, {0: avro_schema(TRADE)}).decode([bytes(FRAME_BYTES)])


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    """The messages joined, and what the five bytes before each body say. All arrays are by message."""

    data: arrays.UInt8s
    starts: arrays.Int64s
    ends: arrays.Int64s
    is_null: npt.NDArray[np.bool_]
    is_framed: npt.NDArray[np.bool_]
    schema_ids: arrays.Int32s

    @classmethod
    def of(cls, messages: Sequence[bytes | None]) -> "_Frames":
        is_null = np.zeros(len(messages), np.bool_)
        values = cast(Sequence[bytes], messages)
        try:
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        except TypeError:
            # Some are None; finding out by failing costs the usual batch nothing.
            is_null = np.fromiter((message is None for message in messages), np.bool_, len(messages))
            values = [b"" if message is None else message for message in messages]
            lengths = np.fromiter(map(len, values), np.int64, len(values))
        ends = np.cumsum(lengths)
        size = int(ends[-1]) if ends.size else 0
        if size > MAXIMUM_BATCH_BYTES:
            raise RecordError(f"a batch of {size} bytes is too large to decode at once; hand over fewer messages")
        data = _joined(values, ends, size)
        starts = ends - lengths
        # A view with one big-endian word at every byte, so that one look-up fetches a whole frame.
        words = np.ndarray((size + 1,), ">i8", data, strides=(1,))
        frames = words[starts].astype(np.int64)
        return cls(
            data,
            starts,
            ends,
            is_null,
            (lengths >= FRAME_BYTES) & (frames >> 56 == 0),
            (frames >> 24).astype(np.int32),
        )

    def rejects(self) -> list[Reject]:
        rejects = []
        for index in np.flatnonzero(~self.is_framed).tolist():
            if self.is_null[index]:
                rejects.append(Reject(index, "null_value", "the message has no value"))
            else:
                length = self.ends[index] - self.starts[index]
                rejects.append(Reject(index, "not_framed", f"{length} bytes do not begin with a zero and a schema id"))
        return rejects


def _joined(values: Sequence[bytes], ends: arrays.Int64s, size: int) -> arrays.UInt8s:
    """All values one after another, and padding."""
    data = np.empty(size + arrays.PADDING_BYTES, np.uint8)
    start = 0
    for first in range(0, len(values), _JOINED_AT_ONCE):
        part = values[first : first + _JOINED_AT_ONCE]
        end = int(ends[first + len(part) - 1])
        data[start:end] = np.frombuffer(b"".join(part), np.uint8)
        start = end
    data[size:] = 0
    return data


def _lookup_in(writer_schemas: Mapping[int, WriterSchema]) -> Callable[[int], WriterSchema]:
    def lookup(schema_id: int) -> WriterSchema:
        if schema_id not in writer_schemas:
            raise SchemaError("no such schema")
        return writer_schemas[schema_id]

    return lookup
