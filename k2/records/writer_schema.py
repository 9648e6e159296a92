"""Reads the JSON of a writer's Avro schema: names and namespaces resolved, every part checked before it is used."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

# A type as its JSON gives it: the name of a primitive or of a named type, a union, or a dict.
AvroType = str | list[Any] | Mapping[str, Any]

PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))

# Deeper nesting of types is an attack or a mistake.
MAXIMUM_NESTING = 32

_NAMED = ("record", "enum", "fixed")
_LARGEST_LONG = 2**63 - 1


class RefusedError(Exception):
    """A schema cannot be used. The message completes "field x ..."; avro_program.py adds the field and wraps it."""


class Names:
    """The named types of one schema, defined in the order they are met."""

    def __init__(self) -> None:
        self._types: dict[str, tuple[Mapping[str, Any], str]] = {}

    def define(self, schema: Mapping[str, Any], namespace: str) -> str:
        """Remember a record, enum or fixed; returns the namespace for the names inside it."""
        name = schema.get("name")
        if not isinstance(name, str) or not name:
            raise RefusedError("has a type without a name")
        inner = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace) or ""
        if not isinstance(inner, str):
            raise RefusedError(f"has a type {name[:80]!r} whose namespace is not a string")
        known, _ = self._types.setdefault(_full_name(name, inner), (schema, inner))
        if known is not schema:
            raise RefusedError(f"defines the type {name[:80]!r} a second time")
        return inner

    def resolve(self, schema: object, namespace: str) -> tuple[AvroType, str]:
        """What stands behind names and wrappers, and the namespace in which the names inside it are to be read."""
        for _ in range(MAXIMUM_NESTING):
            if isinstance(schema, str) and schema not in PRIMITIVES:
                full_name = _full_name(schema, namespace)
                if full_name not in self._types:
                    raise RefusedError(f"has the unknown type {schema[:80]!r}")
                return self._types[full_name]
            if isinstance(schema, str | list):
                return schema, namespace
            if not isinstance(schema, Mapping):
                raise RefusedError(f"has the unknown type {brief(schema)}")
            inner = schema.get("type")
            if inner in _NAMED:
                return schema, self.define(schema, namespace)
            if isinstance(inner, str) and (inner in PRIMITIVES or inner in ("array", "map")):
                return schema, namespace
            schema = inner
        raise RefusedError(f"is nested deeper than {MAXIMUM_NESTING} levels")


def type_name(schema: AvroType) -> str:
    """Avro's name of a resolved type: "long", "record", "union"..."""
    if isinstance(schema, list):
        return "union"
    return str(attribute(schema, "type")) if isinstance(schema, Mapping) else schema


def attribute(schema: AvroType, name: str, default: object = None) -> object:
    """An attribute of a type, such as "items"; `default` for a type that has none of that name."""
    return schema.get(name, default) if isinstance(schema, Mapping) else default


def record_fields(schema: AvroType) -> Iterator[tuple[str, object]]:
    """Name and type of each field of a record, in wire order."""
    fields = attribute(schema, "fields")
    if not isinstance(fields, list):
        raise RefusedError("is a record without a list of fields")
    for field in fields:
        if not isinstance(field, Mapping) or not isinstance(field.get("name"), str) or "type" not in field:
            raise RefusedError(f"has a field without name or type: {brief(field)}")
        yield field["name"], field["type"]


def symbols(schema: AvroType) -> list[str]:
    """Symbols of an enum, in wire order."""
    found = attribute(schema, "symbols")
    if not isinstance(found, list) or not all(isinstance(symbol, str) for symbol in found):
        raise RefusedError("is an enum without a list of symbols")
    return found


def integer(schema: AvroType, name: str, *, minimum: int = 0, default: int | None = None) -> int:
    """A whole-number attribute of a type."""
    value = attribute(schema, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= _LARGEST_LONG:
        raise RefusedError(f"has the {name} {brief(value)}; a whole number from {minimum} is needed")
    return value


def brief(part: object) -> str:
    """A part of a schema for a message: one line, at most 80 characters."""
    try:
        text = json.dumps(part, default=repr)
    except (TypeError, ValueError, RecursionError):
        text = f"<{type(part).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
