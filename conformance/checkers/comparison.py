"""Exact comparison of two columns, whatever their encodings.

Decimals are equal if their values are, whatever their scales; integers and timestamps whatever their widths and units;
maps whatever the order of their entries. A number that is written as text counts as the number. A float never equals a
decimal: it cannot hold one. Null equals null alone.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.journey import BoolArray, IntArray, integers

_TEXT_DECIMAL = pa.decimal256(76, 38)
_Test = Callable[[pa.DataType], bool]


def differing(left: pa.ChunkedArray, right: pa.ChunkedArray) -> BoolArray:
    """For each row, whether the two values differ. Both columns have the same length."""
    if pa.types.is_map(left.type) and pa.types.is_map(right.type):
        return _maps_differ(left.combine_chunks(), right.combine_chunks())
    common = _common_type(left.type, right.type)
    if common is not None:
        try:
            return _arrays_differ(left.cast(common), right.cast(common))
        except pa.ArrowException:
            # A value outside the common type: compare one by one, exactly.
            pass
    pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
    return np.fromiter((not _equal(one, other) for one, other in pairs), dtype=np.bool_, count=len(left))


def _arrays_differ(left: pa.ChunkedArray, right: pa.ChunkedArray) -> BoolArray:
    equal = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return np.asarray(pc.invert(pc.or_(equal, both_null)).to_numpy(), dtype=np.bool_)


def _common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type both can be cast to without loss; None if there is none."""
    both = (left, right)
    families: tuple[tuple[_Test, pa.DataType], ...] = (
        (pa.types.is_integer, pa.int64()),
        (_is_text, pa.large_string()),
        (_is_binary, pa.large_binary()),
        (pa.types.is_boolean, pa.bool_()),
        (pa.types.is_timestamp, pa.timestamp("ns", tz="UTC")),
        (pa.types.is_null, pa.null()),
    )
    for member, common in families:
        if all(member(data_type) for data_type in both):
            return common
    if pa.types.is_null(left) or pa.types.is_null(right):
        return right if pa.types.is_null(left) else left
    decimals = [data_type for data_type in both if pa.types.is_decimal(data_type)]
    others = [data_type for data_type in both if not pa.types.is_decimal(data_type)]
    if decimals and all(pa.types.is_integer(data_type) for data_type in others):
        return pa.decimal256(76, max(data_type.scale for data_type in decimals))
    if decimals and all(_is_text(data_type) for data_type in others):
        return _TEXT_DECIMAL
    return None


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def _is_binary(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type))


def _maps_differ(left: pa.MapArray, right: pa.MapArray) -> BoolArray:
    one, other = _Entries(left), _Entries(right)
    differ: BoolArray = one.sizes != other.sizes
    # Of rows with as many entries on both sides, the sorted entries line up.
    same = ~differ
    one_rows, one_keys, one_values = one.sorted_entries(same)
    _, other_keys, other_values = other.sorted_entries(same)
    unequal = _arrays_differ(one_keys, other_keys) | _arrays_differ(one_values, other_values)
    differ[one_rows[unequal]] = True
    return differ


class _Entries:
    """The entries of a map column, flat. A null map has size -1, an empty one 0."""

    def __init__(self, column: pa.MapArray) -> None:
        field = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
        lists = column.cast(pa.list_(field))
        flat = pc.list_flatten(lists)
        self.sizes = integers(pc.list_value_length(lists))
        self._rows = np.asarray(pc.list_parent_indices(lists).to_numpy(), dtype=np.int64)
        self._keys = pc.struct_field(flat, "key").cast(pa.large_string())
        self._values = pc.struct_field(flat, "value").cast(pa.large_string())

    def sorted_entries(self, rows: BoolArray) -> tuple[IntArray, pa.Array, pa.Array]:
        """Row, key and value of each entry of these rows, ordered by row and key."""
        table = pa.table({"row": self._rows, "key": self._keys, "value": self._values}).filter(rows[self._rows])
        table = table.sort_by([("row", "ascending"), ("key", "ascending")])
        return np.asarray(table["row"].to_numpy(), dtype=np.int64), table["key"], table["value"]


def _equal(one: object, other: object) -> bool:
    one, other = _plain(one), _plain(other)
    if one is None or other is None:
        return one is other
    if isinstance(one, Decimal) or isinstance(other, Decimal):
        return _decimal(one) is not None and _decimal(one) == _decimal(other)
    if isinstance(one, dict) != isinstance(other, dict):
        return _from_text(one) == _from_text(other)
    return type(one) is type(other) and bool(one == other)


def _decimal(value: object) -> Decimal | None:
    """The value as an exact number; None for what is not one, a float included."""
    if not isinstance(value, (Decimal, int, str)):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def _plain(value: object) -> object:
    """A map comes from Arrow as pairs, a struct as a dictionary in which absent keys are None."""
    if isinstance(value, list) and all(isinstance(entry, tuple) for entry in value):
        return dict(value)
    if isinstance(value, dict):
        return {key: entry for key, entry in value.items() if entry is not None}
    return value


def _from_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed: object = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return parsed
