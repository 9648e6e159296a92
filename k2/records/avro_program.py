"""Compiles a writer's Avro schema into the instructions by which avro_kernel.py fills the columns of a record type.

Fields are matched by name, as Avro resolves them: what only the writer knows is read past (and still checked), what
only we know becomes null or an empty map where it may. Whatever could not be read exactly is a SchemaError here, once,
instead of a wrong value later.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from k2.errors import SchemaError
from k2.records import avro_arrays as arrays
from k2.records.definition import DECIMAL_PRECISION, DECIMAL_SCALE, Field, Kind, RecordType
from k2.records.writer_schema import (
    MAXIMUM_NESTING,
    AvroType,
    Names,
    RefusedError,
    attribute,
    brief,
    integer,
    record_fields,
    symbols,
    type_name,
)

WriterSchema = str | Mapping[str, Any]

# Named types can be nested so that a small schema doubles at each level.
MAXIMUM_INSTRUCTIONS = 10_000

_NULLS = {
    arrays.OP_LONG: arrays.OP_NULL_LONG,
    arrays.OP_DECIMAL: arrays.OP_NULL_DECIMAL,
    arrays.OP_DICTIONARY: arrays.OP_NULL_INDEX,
    arrays.OP_ENUM: arrays.OP_NULL_INDEX,
    arrays.OP_STRING: arrays.OP_EMPTY,
    arrays.OP_MAP: arrays.OP_EMPTY,
}
_SIZES = {"null": 0, "float": 4, "double": 8}
_SKIPS = {
    "int": arrays.OP_INT,
    "long": arrays.OP_LONG,
    "bytes": arrays.OP_BYTES,
    "string": arrays.OP_STRING,
}


@dataclass(frozen=True, slots=True)
class Column:
    """Where the kernel puts a field: slots of arrays.Columns' arrays, -1 where the field has no use of one.

    `operation` reads the field and decides what `slot` counts: longs, decimals, indices or offsets. `text` is the slot
    in texts (a map takes two), `entries` the first of two in entry_offsets, `dictionary` the one in Dictionaries.
    """

    operation: int
    slot: int
    validity: int
    text: int = -1
    entries: int = -1
    dictionary: int = -1


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a record type, in wire order, and how many slots each array of the kernel needs for them."""

    columns: tuple[Column, ...]
    slots: Mapping[str, int]

    @classmethod
    def of(cls, record_type: RecordType) -> "Layout":
        """The layout of a record type, the same for every writer."""
        slots = dict.fromkeys((*arrays.Columns._fields, "dictionaries"), 0)

        def take(array: str, count: int = 1) -> int:
            slots[array] += count
            return slots[array] - count

        def column(field: Field) -> Column:
            validity = take("validity") if field.nullable else -1
            match field.kind:
                case Kind.LONG:
                    return Column(arrays.OP_LONG, take("longs"), validity)
                case Kind.DECIMAL:
                    return Column(arrays.OP_DECIMAL, take("decimals"), validity)
                case Kind.ENUM:
                    return Column(arrays.OP_ENUM, take("indices"), validity)
                case Kind.STRING_MAP:
                    texts, entries = take("texts", 2), take("entry_offsets", 2)
                    return Column(arrays.OP_MAP, take("offsets"), validity, text=texts, entries=entries)
                case Kind.STRING if field.repeats:
                    dictionary = take("dictionaries")
                    return Column(arrays.OP_DICTIONARY, take("indices"), validity, dictionary=dictionary)
                case Kind.STRING:
                    return Column(arrays.OP_STRING, take("offsets"), validity, text=take("texts"))

        return cls(tuple(column(field) for field in record_type.fields), slots)


@dataclass(frozen=True, slots=True)
class Program:
    """How to read one writer's bodies.

    Attributes:
        code: int64 [instructions, arrays.INSTRUCTION_WORDS].
        tables: int64; symbol numbers, branch targets and decimal limits, at the places the instructions name.
        fields: the writer's field each instruction belongs to, for messages.
        nesting: greatest depth of arrays and maps within one another.
    """

    code: npt.NDArray[np.int64]
    tables: npt.NDArray[np.int64]
    fields: tuple[str, ...]
    nesting: int


def compile_program(record_type: RecordType, writer_schema: WriterSchema) -> Program:
    """The program that reads bodies of `writer_schema` (JSON text, or the same as a dict) as `record_type`.

    Raises:
        SchemaError: the schema is malformed or recursive, is of another record, lacks a field we cannot do without, or
            has one in a type that cannot be turned into ours exactly.
    """
    try:
        schema = json.loads(writer_schema) if isinstance(writer_schema, str) else writer_schema
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"writer schema of {record_type.name} is not JSON: {str(error)[:80]}") from error
    compiler = _Compiler(record_type)
    try:
        return compiler.compile(schema)
    except RefusedError as refusal:
        field = f", field {compiler.field[:80]}" if compiler.field else ""
        raise SchemaError(f"writer schema of {record_type.name}{field}: {refusal}") from refusal


def link(programs: Sequence[Program]) -> arrays.Programs:
    """Several programs in the arrays of one; program i keeps its number."""
    code = np.zeros((sum(program.code.shape[0] for program in programs), arrays.INSTRUCTION_WORDS), np.int64)
    tables = np.zeros(sum(program.tables.size for program in programs), np.int64)
    entries = np.zeros((len(programs), 2), np.int64)
    first_code = first_table = 0
    for number, program in enumerate(programs):
        entries[number] = first_code, first_table
        code[first_code : first_code + program.code.shape[0]] = program.code
        tables[first_table : first_table + program.tables.size] = program.tables
        first_code += program.code.shape[0]
        first_table += program.tables.size
    return arrays.Programs(code, tables, entries)


class _Compiler:
    """Emits instructions while walking a schema once, in the order of the bytes."""

    def __init__(self, record_type: RecordType) -> None:
        self.field = ""
        self._record_type = record_type
        self._code: list[list[int]] = []
        self._tables: list[int] = []
        self._fields: list[str] = []
        self._names = Names()
        self._records: list[AvroType] = []
        self._levels = 0
        self._blocks = 0
        self._nesting = 0

    def compile(self, schema: object) -> Program:
        if not isinstance(schema, Mapping) or type_name(schema) != "record":
            raise RefusedError(f"is {brief(schema)}; a record is needed")
        namespace = self._names.define(schema, "")
        name = schema["name"].rpartition(".")[2]
        if name != self._record_type.name:
            raise RefusedError(f"is of the record {name[:80]!r}; the message belongs to another topic")
        self._records.append(schema)
        ours = {field.name: field for field in self._record_type.fields}
        columns = dict(zip(ours, Layout.of(self._record_type).columns, strict=True))
        for self.field, field_type in record_fields(schema):
            if self.field not in ours:
                self._skip(field_type, namespace)
            elif self.field in columns:
                self._read(ours[self.field], columns.pop(self.field), field_type, namespace)
            else:
                raise RefusedError("appears twice")
        for self.field, column in columns.items():
            field = ours[self.field]
            if not field.nullable and field.kind is not Kind.STRING_MAP:
                raise RefusedError("is missing, and no record can do without it")
            self._emit(_NULLS[column.operation], column)
        self.field = ""
        self._emit(arrays.OP_END)
        code = np.array(self._code, dtype=np.int64)
        return Program(code, np.array(self._tables, dtype=np.int64), tuple(self._fields), self._nesting)

    def _read(self, field: Field, column: Column, schema: object, namespace: str) -> None:
        resolved, namespace = self._names.resolve(schema, namespace)
        if not isinstance(resolved, list):
            self._read_value(field, column, resolved, namespace)
            return
        branches = [self._names.resolve(branch, namespace) for branch in resolved]
        is_null = [type_name(branch) == "null" for branch, _ in branches]
        if is_null.count(False) != 1 or len(branches) > 2:
            raise RefusedError(f"is the union {brief(resolved)}; only null and one other type can be read")
        targets = self._union(len(branches))
        jumps = []
        for number, (branch, branch_namespace) in enumerate(branches):
            self._tables[targets + number] = len(self._code)
            if not is_null[number]:
                self._read_value(field, column, branch, branch_namespace)
            elif field.nullable:
                self._emit(_NULLS[column.operation], column)
            else:
                self._emit(arrays.OP_REFUSE_NULL)
            if number + 1 < len(branches):
                jumps.append(self._emit(arrays.OP_JUMP))
        self._land(jumps)

    def _read_value(self, field: Field, column: Column, schema: AvroType, namespace: str) -> None:
        kind, logical = type_name(schema), attribute(schema, "logicalType")
        match field.kind:
            case Kind.LONG if kind in ("long", "int") and logical is None:
                self._emit(_SKIPS[kind], column)
            case Kind.STRING if kind == "string" and field.repeats:
                self._emit(arrays.OP_DICTIONARY, column, first=column.dictionary)
            case Kind.STRING if kind == "string":
                self._emit(arrays.OP_STRING, column, first=column.text)
            case Kind.ENUM if kind == "enum":
                ours = {symbol: number for number, symbol in enumerate(field.symbols)}
                numbers = [ours.get(symbol, -1) for symbol in symbols(schema)]
                self._emit(arrays.OP_ENUM, column, first=self._table(numbers), second=len(numbers))
            case Kind.DECIMAL if kind in ("bytes", "fixed") and logical == "decimal":
                size = integer(schema, "size") if kind == "fixed" else -1
                self._emit(arrays.OP_DECIMAL, column, first=self._table(_decimal_words(schema)), second=size)
            case Kind.STRING_MAP if kind == "map" and self._is_string(attribute(schema, "values"), namespace):
                self._emit(arrays.OP_MAP, column, first=column.text, second=column.entries)
            case _:
                raise RefusedError(f"is {brief(schema)}, which cannot be read as {field.kind.value} exactly")

    def _is_string(self, schema: object, namespace: str) -> bool:
        return type_name(self._names.resolve(schema, namespace)[0]) == "string"

    def _skip(self, schema: object, namespace: str) -> bool:
        """Read past a value of any type; returns whether it takes any bytes."""
        self._levels += 1
        if self._levels > MAXIMUM_NESTING:
            raise RefusedError(f"is nested deeper than {MAXIMUM_NESTING} levels")
        resolved, namespace = self._names.resolve(schema, namespace)
        kind = type_name(resolved)
        takes_bytes = True
        match kind:
            case "null" | "float" | "double" | "fixed":
                takes_bytes = self._skip_fixed(_SIZES[kind] if kind in _SIZES else integer(resolved, "size"))
            case "int" | "long" | "bytes" | "string":
                self._emit(_SKIPS[kind])
            case "boolean":
                self._emit(arrays.OP_BOOLEAN, second=1)
            case "enum":
                count = len(symbols(resolved))
                self._emit(arrays.OP_ENUM, first=self._table([0] * count), second=count)
            case "record":
                takes_bytes = self._skip_record(resolved, namespace)
            case "union" if isinstance(resolved, list):
                self._skip_union(resolved, namespace)
            case "array":
                self._skip_blocks(attribute(resolved, "items"), namespace, has_keys=False)
            case "map":
                self._skip_blocks(attribute(resolved, "values"), namespace, has_keys=True)
            case _:
                raise RefusedError(f"has the unknown type {brief(resolved)}")
        self._levels -= 1
        return takes_bytes

    def _skip_fixed(self, size: int) -> bool:
        if size:
            self._emit(arrays.OP_FIXED, second=size)
        return size > 0

    def _skip_record(self, schema: AvroType, namespace: str) -> bool:
        if any(schema is outer for outer in self._records):
            raise RefusedError("has a record within itself; recursive schemas are refused")
        self._records.append(schema)
        parent = self.field
        takes_bytes = False
        for name, field_type in record_fields(schema):
            self.field = f"{parent}.{name}"
            takes_bytes |= self._skip(field_type, namespace)
        self.field = parent
        self._records.pop()
        return takes_bytes

    def _skip_union(self, branches: Sequence[object], namespace: str) -> None:
        targets = self._union(len(branches))
        jumps = []
        for number, branch in enumerate(branches):
            self._tables[targets + number] = len(self._code)
            self._skip(branch, namespace)
            jumps.append(self._emit(arrays.OP_JUMP))
        self._land(jumps)

    def _skip_blocks(self, items: object, namespace: str, *, has_keys: bool) -> None:
        depth = self._blocks
        self._blocks += 1
        self._nesting = max(self._nesting, self._blocks)
        block = self._emit(arrays.OP_BLOCK, first=depth)
        if has_keys:
            self._emit(arrays.OP_STRING)
        takes_bytes = self._skip(items, namespace) or has_keys
        if takes_bytes:
            self._emit(arrays.OP_BLOCK_NEXT, first=depth, second=block)
        self._code[block][arrays.SECOND] = len(self._code)
        self._code[block][arrays.THIRD] = int(takes_bytes)
        self._blocks -= 1

    def _union(self, branches: int) -> int:
        """Emit a union; returns where in the tables the targets of its branches belong."""
        targets = self._table([0] * branches)
        self._emit(arrays.OP_UNION, first=targets, second=branches)
        return targets

    def _land(self, jumps: Sequence[int]) -> None:
        for jump in jumps:
            self._code[jump][arrays.FIRST] = len(self._code)

    def _emit(
        self, operation: int, column: Column | None = None, *, first: int = 0, second: int = 0, third: int = 0
    ) -> int:
        if len(self._code) >= MAXIMUM_INSTRUCTIONS:
            raise RefusedError(f"makes the schema larger than {MAXIMUM_INSTRUCTIONS} values")
        slot, validity = (-1, -1) if column is None else (column.slot, column.validity)
        self._code.append([operation, slot, validity, first, second, third])
        self._fields.append(self.field)
        return len(self._code) - 1

    def _table(self, words: Sequence[int]) -> int:
        self._tables.extend(words)
        return len(self._tables) - len(words)


def _decimal_words(schema: AvroType) -> tuple[int, int, int]:
    """A decimal's words in the tables: the limit of its unscaled value (two words), how often to multiply it by 10."""
    precision = integer(schema, "precision", minimum=1)
    scale = integer(schema, "scale", default=0)
    steps = DECIMAL_SCALE - scale
    if steps < 0 or precision + steps > DECIMAL_PRECISION:
        raise RefusedError(
            f"is decimal({brief(precision)}, {brief(scale)}), which does not fit"
            f" decimal({DECIMAL_PRECISION}, {DECIMAL_SCALE}) exactly"
        )
    limit = 10**precision
    low = limit & 0xFFFF_FFFF_FFFF_FFFF
    return limit >> 64, low - 2**64 if low >= 2**63 else low, steps
