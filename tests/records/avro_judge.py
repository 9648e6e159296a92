"""An Avro reader for tests: the specification word by word, slow, sharing nothing with the code it judges.

`judge` says what a body holds or why it holds nothing. `fastavro_agrees` holds it against fastavro, which is laxer in
the places listed there and must agree everywhere else.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import fastavro

PRECISION = 28


@dataclass(frozen=True, slots=True)
class Bad:
    """Why a body is no record. `lax` where fastavro may read on: it ignores block sizes, wraps around and so on."""

    reason: str
    lax: bool = False


class BadBodyError(Exception):
    """Carries the Bad to where the body began."""


def refuse(reason: str, *, lax: bool = False) -> BadBodyError:
    return BadBodyError(Bad(reason, lax))


class Judge:
    """Reads one body; every method returns a value or raises BadBodyError."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, size: int, *, lax: bool = False) -> bytes:
        if size > len(self.rest):
            raise refuse("truncated", lax=lax)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def long(self, bits: int = 64) -> int:
        number = 0
        for place in range(10):
            byte = self.take(1)[0]
            if place == 9 and byte > 1:
                raise refuse("bad_varint", lax=True)
            number |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                break
        value = number >> 1 if number % 2 == 0 else -(number >> 1) - 1
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise refuse("bad_varint", lax=True)
        return value

    def length(self) -> int:
        size = self.long()
        if size < 0:
            raise refuse("negative_length")
        if size > len(self.rest):
            raise refuse("truncated")
        return size

    def string(self) -> str:
        try:
            return self.take(self.length()).decode("utf-8")
        except UnicodeDecodeError:
            raise refuse("bad_utf8") from None

    def decimal(self, raw: bytes, schema: Mapping[str, Any]) -> Decimal:
        if not raw:
            raise refuse("empty_decimal", lax=True)
        unscaled = int.from_bytes(raw, "big", signed=True)
        if abs(unscaled) >= 10 ** schema["precision"]:
            raise refuse("decimal_too_wide", lax=True)
        sign, digits = int(unscaled < 0), tuple(int(digit) for digit in str(abs(unscaled)))
        return Decimal((sign, digits, -schema.get("scale", 0)))

    def blocks(self, read_item: Callable[[], Any], *, item_has_bytes: bool = True) -> list[Any]:
        items = []
        while True:
            count, size = self.long(), None
            if count < 0:
                count = -count
                size = self.long()
                if size < 0:
                    raise refuse("negative_length", lax=True)
                if size > len(self.rest):
                    raise refuse("truncated", lax=True)
            if count > 2**63 - 1 or (item_has_bytes and count > len(self.rest)):
                raise refuse("bad_block_count", lax=count > 2**63 - 1)
            if count == 0:
                return items
            before = len(self.rest)
            items += [read_item() for _ in range(count)] if item_has_bytes else []
            if size is not None and before - len(self.rest) != size:
                raise refuse("bad_block_size", lax=True)

    def enum(self, schema: Mapping[str, Any]) -> str:
        index = self.long()
        if not 0 <= index < len(schema["symbols"]):
            raise refuse("bad_enum_index", lax=index < 0)
        return schema["symbols"][index]

    def union(self, branches: list[Any]) -> Any:
        branch = self.long()
        if not 0 <= branch < len(branches):
            raise refuse("bad_union_branch", lax=branch < 0)
        return self.value(branches[branch])

    def boolean(self) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise refuse("bad_boolean", lax=True)
        return byte == 1

    def value(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return self.union(schema)
        details = schema if isinstance(schema, dict) else {}
        match details.get("type", schema):
            case "record":
                return {field["name"]: self.value(field["type"]) for field in details["fields"]}
            case "bytes" | "fixed" as kind:
                raw = self.take(details["size"] if kind == "fixed" else self.length())
                return self.decimal(raw, details) if details.get("logicalType") == "decimal" else raw
            case "enum":
                return self.enum(details)
            case "map":
                return self.blocks(lambda: (self.string(), self.value(details["values"])))
            case "array":
                return self.blocks(lambda: self.value(details["items"]), item_has_bytes=details["items"] != "null")
            case "string":
                return self.string()
            case "long":
                return self.long()
            case "int":
                return self.long(32)
            case "boolean":
                return self.boolean()
            case "float":
                return self.take(4)
            case "double":
                return self.take(8)
            case "null":
                return None
        raise AssertionError(f"no such type: {schema}")


def judge(schema: Mapping[str, Any], body: bytes) -> dict[str, Any] | Bad:
    """The record in a body (a map as its list of entries), or what is wrong with the first thing that is wrong."""
    reader = Judge(body)
    try:
        record: dict[str, Any] = reader.value(schema)
    except BadBodyError as error:
        bad: Bad = error.args[0]
        return bad
    return Bad("trailing_bytes") if reader.rest else record


def fastavro_agrees(schema: Mapping[str, Any], body: bytes, verdict: dict[str, Any] | Bad) -> bool:
    """Whether fastavro reads the same, or refuses as well, or takes what it is known to take."""
    stream = io.BytesIO(body)
    try:
        record = fastavro.schemaless_reader(stream, schema, None)
    except (EOFError, IndexError, UnicodeDecodeError):
        return isinstance(verdict, Bad)
    if isinstance(verdict, Bad):
        return stream.tell() != len(body) or verdict.lax
    if stream.tell() != len(body):
        return False
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    return all(
        dict(verdict[name]) == value if is_map(fields[name]) else verdict[name] == value
        for name, value in record.items()
        if not holds_floats_or_nested(fields[name])
    )


def is_map(schema: Any) -> bool:
    return isinstance(schema, dict) and schema["type"] == "map" and schema["values"] == "string"


def holds_floats_or_nested(schema: Any) -> bool:
    """What the judge leaves as raw bytes or entries: fields we have no column for."""
    if isinstance(schema, dict):
        return schema["type"] in ("record", "array") or (schema["type"] == "map" and not is_map(schema))
    return schema in ("float", "double") or (isinstance(schema, list) and len(schema) > 2)
