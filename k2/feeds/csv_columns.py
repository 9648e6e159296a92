"""What each column of a CSV file means: derived from the definition of the record type and the file's header.

A column is named as the field it fills. A time field `x_ns` may also come as `x` (ISO 8601), `x_us` or `x_ms`; a column
`vendor_data.NAME` fills one entry of vendor_data. Fields that K2 fills itself have no column: session, session_sequence
and asset_class.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from k2.feeds.instants import number_reader, text_reader
from k2.feeds.line_file import BadLineError
from k2.feeds.values import DECIMAL_RULE, LARGEST_LONG, is_decimal
from k2.records.definition import Field, Kind, RecordType

VENDOR_DATA_PREFIX = "vendor_data."
UNKNOWN = "UNKNOWN"
_FILLED_BY_THE_FEED = ("session", "session_sequence", "asset_class", "vendor_data")
_TIMES = ("event_time_ns", "receive_time_ns")
_ALSO_NEEDED = {"quotes": ("bid_price", "bid_quantity", "ask_price", "ask_quantity")}
"""A record without them is possible, a file without them is not one of this data type."""
_UNITS = {"_ns": 1, "_us": 1_000, "_ms": 1_000_000}
_is_whole_number = re.compile(r"-?[0-9]{1,19}", re.ASCII).fullmatch

Convert = Callable[[str], object]


class HeaderError(Exception):
    """A header does not fit the record type; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is read.

    Attributes:
        position: in the line, from 0.
        header: its name in the file.
        field: the field it fills; an entry of vendor_data where `entry` is set.
        convert: from the text of a cell; BadLineError where that does not fit.
        required: whether an empty cell is an error.
        empty: what an empty cell means where it is none.
        entry: name of the entry of vendor_data.
    """

    position: int
    header: str
    field: str
    convert: Convert
    required: bool = False
    empty: object = None
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A header that fits: the columns in file order, and the defaults of fields without one."""

    width: int
    columns: tuple[Column, ...]
    defaults: Mapping[str, object] = field(default_factory=dict)


def map_header(
    record_type: RecordType,
    header: Sequence[str],
    *,
    named: Mapping[str, str],
    ignored: Collection[str],
    constants: Collection[str],
    time_zone: ZoneInfo | None,
) -> Mapped:
    """What the columns of a header mean.

    Args:
        record_type: what the lines hold.
        header: names of the columns, in file order.
        named: for columns with other names: the column a reader expects -> the name in the file.
        ignored: columns not to be read.
        constants: fields that are the same in the whole file and have no column.
        time_zone: of times that name no offset.

    Raises:
        HeaderError: a column is unknown, doubled or missing.
    """
    _refuse_doubles(header)
    missing = sorted({*named.values(), *ignored} - set(header))
    if missing:
        raise HeaderError(f"has no column {missing[0]!r}, but the mapping names it")
    meanings = {name: meaning for meaning, name in named.items()}
    columns = []
    for position, name in enumerate(header):
        if name not in ignored:
            columns.append(_column(record_type, position, name, meanings.get(name, name), constants, time_zone))
    filled = [column.field for column in columns if not column.entry]
    twice = next((name for name in filled if filled.count(name) > 1), None)
    if twice is not None:
        raise HeaderError(f"has two columns for {twice}")
    return Mapped(len(header), tuple(columns), _defaults(record_type, {*filled, *constants}))


def _refuse_doubles(header: Sequence[str]) -> None:
    double = next((name for name in header if header.count(name) > 1), None)
    if double is not None:
        raise HeaderError(f"names the column {double!r} twice")


def _column(
    record_type: RecordType,
    position: int,
    header: str,
    meaning: str,
    constants: Collection[str],
    time_zone: ZoneInfo | None,
) -> Column:
    if meaning.startswith(VENDOR_DATA_PREFIX) and len(meaning) > len(VENDOR_DATA_PREFIX):
        return Column(position, header, "vendor_data", str, entry=meaning.removeprefix(VENDOR_DATA_PREFIX))
    for candidate in _fields_with_a_column(record_type):
        convert = _conversion(candidate, meaning, time_zone)
        if convert is None:
            continue
        if candidate.name in constants:
            raise HeaderError(f"has the column {header!r}, and the same was given for the whole file: leave one out")
        empty = UNKNOWN if UNKNOWN in candidate.symbols else None
        required = not candidate.nullable and candidate.name not in _TIMES and empty is None
        return Column(position, header, candidate.name, convert, required, empty)
    raise HeaderError(
        f"has the column {header!r}, which no {record_type.data_type} field is called: say what it is "
        f"(--column FIELD={header}), keep it (--column {VENDOR_DATA_PREFIX}NAME={header}) or --ignore-column {header}"
    )


def _fields_with_a_column(record_type: RecordType) -> Iterator[Field]:
    return (one for one in record_type.fields if one.name not in _FILLED_BY_THE_FEED)


def _conversion(candidate: Field, meaning: str, time_zone: ZoneInfo | None) -> Convert | None:
    """How a column of that name fills the field; None if it is another's."""
    stem = candidate.name.removesuffix("_ns")
    if stem != candidate.name:
        if meaning == stem:
            return text_reader(time_zone)
        unit = _UNITS.get(meaning.removeprefix(stem))
        return number_reader(unit) if unit is not None and meaning.startswith(stem) else None
    if meaning != candidate.name:
        return None
    match candidate.kind:
        case Kind.LONG:
            return _whole_number
        case Kind.DECIMAL:
            return _decimal
        case Kind.ENUM:
            return _one_of(candidate.symbols)
        case _:
            return str


def _defaults(record_type: RecordType, filled: Collection[str]) -> dict[str, object]:
    defaults: dict[str, object] = {}
    if not set(_TIMES) & set(filled):
        raise HeaderError("has no column event_time or receive_time")
    for candidate in _fields_with_a_column(record_type):
        name = candidate.name
        if name in filled or name in _TIMES:
            continue
        if UNKNOWN in candidate.symbols:
            defaults[name] = UNKNOWN
        elif candidate.nullable and name not in _ALSO_NEEDED.get(record_type.data_type, ()):
            defaults[name] = None
        else:
            instead = "; add it or give --exchange" if name == "exchange" else ""
            raise HeaderError(f"has no column {name}, which {record_type.data_type} cannot do without{instead}")
    return defaults


def _whole_number(text: str) -> int:
    if not _is_whole_number(text) or not -LARGEST_LONG - 1 <= int(text) <= LARGEST_LONG:
        raise BadLineError("bad_number", f"{text!r:.40} is not a whole number of 64 bits")
    return int(text)


def _decimal(text: str) -> str:
    if not is_decimal(text):
        raise BadLineError("bad_decimal", f"{text!r:.40} is not a decimal number with {DECIMAL_RULE}")
    return text


def _one_of(symbols: Sequence[str]) -> Convert:
    allowed = frozenset(symbols)

    def convert(text: str) -> str:
        if text not in allowed:
            raise BadLineError("unknown_value", f"{text!r:.40} is not one of {', '.join(symbols)}")
        return text

    return convert
