"""Records to Kafka message values: Confluent framing and an Avro body that holds each value exactly, or a refusal."""

import re
import struct
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from io import BytesIO
from typing import Any

import fastavro

from k2.errors import RecordError
from k2.records.definition import DECIMAL_PRECISION, DECIMAL_SCALE, Field, Kind, RecordType
from k2.records.schemas import avro_schema

_INTEGER_DIGITS = DECIMAL_PRECISION - DECIMAL_SCALE
_SMALLEST_LONG, _LARGEST_LONG = -(2**63), 2**63 - 1
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

# A digit that does not fit the precision is an error here, never rounded away.
_EXACT = Context(prec=DECIMAL_PRECISION, traps=[Inexact, InvalidOperation, Overflow])

_SHORTENED_CHARACTERS = 80
_MISSING = object()


class RecordEncoder:
    """Encodes records of one type under one registered schema.

    Args:
        record_type: what the records hold; the schema is the one derived from it.
        schema_id: the registry's id of that schema.
    """

    def __init__(self, record_type: RecordType, schema_id: int) -> None:
        if not 0 <= schema_id < 2**31:
            raise RecordError(f"schema id {schema_id} of {record_type.name} does not fit a frame; it has 31 bits")
        self._name = record_type.name
        self._frame = struct.pack(">bi", 0, schema_id)
        self._schema = fastavro.parse_schema(_wire_schema(record_type))
        self._fields = [(field, _default(field), _CONVERSIONS[field.kind]) for field in record_type.fields]
        self._field_names = frozenset(field.name for field in record_type.fields)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """The message value of a record given as field name -> value.

        LONG takes int; DECIMAL takes Decimal, int or str, never float; STRING and ENUM take str; STRING_MAP takes a
        mapping of str to str. What is nullable may be None or left out, a map may be left out.

        Raises:
            RecordError: a value is missing, unknown, of another type, or could not be stored exactly; the message names
                the field and the value.
        """
        values: dict[str, object] = {}
        for field, default, convert in self._fields:
            value = record.get(field.name, default)
            if value is None and field.nullable:
                values[field.name] = None
                continue
            try:
                values[field.name] = convert(field, value)
            except _UnfitError as error:
                raise self._refusal(field.name, value, str(error)) from error
        if not record.keys() <= self._field_names:
            name = next(name for name in record if name not in self._field_names)
            raise self._refusal(_shortened(name), record[name], "there is no such field")
        buffer = BytesIO()
        buffer.write(self._frame)
        try:
            fastavro.schemaless_writer(buffer, self._schema, values)
        except UnicodeEncodeError as error:
            name = next(name for name, value in values.items() if not _is_encodable(value))
            raise self._refusal(name, values[name], "it has a lone surrogate, which UTF-8 cannot hold") from error
        return buffer.getvalue()

    def _refusal(self, name: str, value: object, reason: str) -> RecordError:
        shown = "" if value is _MISSING else f" = {_shortened(value)}"
        return RecordError(f"{self._name}.{name}{shown}: {reason}")


class _UnfitError(Exception):
    """A value does not fit its field; the message says why."""


def _string(field: Field, value: object) -> str:
    if isinstance(value, str):
        return value
    raise _wrong_type("str", value)


def _enum(field: Field, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type("str", value)
    if value not in field.symbols:
        raise _UnfitError(f"it must be one of {', '.join(field.symbols)}")
    return value


def _long(field: Field, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type("int", value)
    if not _SMALLEST_LONG <= value <= _LARGEST_LONG:
        raise _UnfitError("it does not fit 64 bits")
    return value


def _string_map(field: Field, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong_type("a mapping of str to str", value)
    for key, entry in value.items():
        if not isinstance(key, str) or not isinstance(entry, str):
            raise _UnfitError(f"its entry {_shortened(key)} must be str to str")
    return dict(value)


def _decimal(field: Field, value: object) -> bytes:
    """Big-endian two's complement of the value times 10^DECIMAL_SCALE."""
    if isinstance(value, str):
        number = _parsed(value)
    elif isinstance(value, Decimal):
        number = value
    elif isinstance(value, int) and not isinstance(value, bool):
        # Converting an int of many digits takes quadratic time, so the range goes first.
        number = Decimal(value) if abs(value) < 10**_INTEGER_DIGITS else Decimal(10**_INTEGER_DIGITS)
    else:
        raise _wrong_type("Decimal, int or str", value)
    if not number.is_finite():
        raise _UnfitError("it is not a finite number")
    if number and number.adjusted() >= _INTEGER_DIGITS:
        raise _UnfitError(f"it has more than {_INTEGER_DIGITS} digits before the point")
    unscaled = _unscaled(number)
    return unscaled.to_bytes((unscaled.bit_length() + 8) >> 3, "big", signed=True)


def _parsed(text: str) -> Decimal:
    # Decimal itself also takes underscores, blanks, other scripts' digits and words.
    if _NUMBER.fullmatch(text):
        try:
            return Decimal(text)
        except DecimalException:
            pass
    raise _UnfitError("it is not a decimal number")


def _unscaled(number: Decimal) -> int:
    if not number:
        return 0
    try:
        scaled = number.scaleb(DECIMAL_SCALE, _EXACT)
    except DecimalException as error:
        raise _too_fine() from error
    unscaled = int(scaled)
    if unscaled != scaled:
        raise _too_fine()
    return unscaled


_CONVERSIONS: Mapping[Kind, Callable[[Field, object], object]] = {
    Kind.STRING: _string,
    Kind.ENUM: _enum,
    Kind.LONG: _long,
    Kind.DECIMAL: _decimal,
    Kind.STRING_MAP: _string_map,
}


def _default(field: Field) -> object:
    if field.nullable:
        return None
    return {} if field.kind is Kind.STRING_MAP else _MISSING


def _wrong_type(expected: str, value: object) -> _UnfitError:
    if value is _MISSING:
        return _UnfitError("it is missing, and a record cannot do without it")
    return _UnfitError(f"it must be {expected}, not {type(value).__name__}")


def _too_fine() -> _UnfitError:
    return _UnfitError(f"it has more than {DECIMAL_SCALE} digits after the point")


def _is_encodable(value: object) -> bool:
    texts = [value] if isinstance(value, str) else [*value, *value.values()] if isinstance(value, dict) else []
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(value: object) -> str:
    """A value for a message: one line, at most 80 characters, whatever the value is."""
    if isinstance(value, str):
        shown = repr(value[:_SHORTENED_CHARACTERS])
    elif isinstance(value, int) and abs(value) >= 10**_SHORTENED_CHARACTERS:
        # Python refuses to print very long integers.
        shown = f"<int of {value.bit_length()} bits>"
    elif isinstance(value, int | float | Decimal):
        shown = repr(value)
    else:
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= _SHORTENED_CHARACTERS else f"{shown[: _SHORTENED_CHARACTERS - 3]}..."


def _wire_schema(record_type: RecordType) -> dict[str, Any]:
    """The record type's schema with decimals as plain bytes: the same bytes on the wire, converted here instead."""
    schema = avro_schema(record_type)
    for field in schema["fields"]:
        if isinstance(field["type"], list):
            field["type"] = [_without_decimal(branch) for branch in field["type"]]
        else:
            field["type"] = _without_decimal(field["type"])
    return schema


def _without_decimal(avro_type: object) -> object:
    return "bytes" if isinstance(avro_type, dict) and avro_type.get("logicalType") == "decimal" else avro_type
