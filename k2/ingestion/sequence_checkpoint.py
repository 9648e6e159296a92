"""The checkpoint of a sequence tracker, an Arrow table: its columns, its formats, and what no tracker can have written.

One row a key, in order of arrival:

    key                       list<string>    the key columns' values
    first, lowest, last       int64           as in the ruling (k2.ingestion.sequence_tracker)
    highest_evicted           int64           null while nothing was evicted since the last session reset
    total_messages .. lost_in_evicted_ranges  the statistics
    open_ranges               list<struct<first: int64, last: int64>>   the gaps, ascending
    holes_before_first        the same        unseen numbers between `lowest` and `first`, ascending
    arrival_number            int64           how many keys had arrived with this one, forgotten ones included
    last_position             int64           how many numbers had been judged with this key's last

The most recent key is never forgotten, so the largest `last_position` is the number of all numbers judged, and the
largest `arrival_number` that of all keys there were.

Formats, as the metadata `k2.sequence.format` says: 1 lacks the last two columns; its keys are taken to have come one
after the other. 2 is the current one.
"""

from collections.abc import Iterator
from itertools import accumulate, chain
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2.errors import ProgressError

FORMAT_KEY = b"k2.sequence.format"
FORMAT_VERSION = 2
OLDEST_FORMAT_VERSION = 1
# In the order of the event codes.
COUNT_COLUMNS = ("in_order", "gaps", "out_of_order", "duplicates", "session_resets", "too_old")
NUMBER_COLUMNS = ("first", "lowest", "last")
POSITION_COLUMNS = ("arrival_number", "last_position")
RANGES_TYPE = pa.list_(pa.struct([("first", pa.int64()), ("last", pa.int64())]))
_STATISTICS = ("total_messages", *COUNT_COLUMNS, "lost_in_evicted_ranges")
_REMEDY = "restore it from a copy, or roll the table back to a snapshot whose state is whole"

Int64Array = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Ranges = tuple[Int64Array, Int64Array, Int64Array]
"""Row of the key, first and last number of each range, by row."""


def _whole_numbers(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int64(), nullable=False) for name in names]


SCHEMA = pa.schema(
    [
        pa.field("key", pa.list_(pa.string()), nullable=False),
        *_whole_numbers(*NUMBER_COLUMNS),
        pa.field("highest_evicted", pa.int64()),
        *_whole_numbers(*_STATISTICS),
        pa.field("open_ranges", RANGES_TYPE, nullable=False),
        pa.field("holes_before_first", RANGES_TYPE, nullable=False),
        *_whole_numbers(*POSITION_COLUMNS),
    ],
    metadata={FORMAT_KEY: str(FORMAT_VERSION).encode()},
)
_SCHEMAS = {1: pa.schema([field for field in SCHEMA if field.name not in POSITION_COLUMNS]), 2: SCHEMA}


def read_checkpoint(table: pa.Table, key_parts: int | None = None) -> pa.Table:
    """A checkpoint of any known format as one of the current format, once it is certain that a tracker can have it.

    Args:
        table: the checkpoint as it was read.
        key_parts: how many values a key must have; None for any number, the same in all keys.

    Raises:
        ProgressError: the format is not known, or no tracker can have written this.
    """
    version = _format_version(table)
    schema = _SCHEMAS[version]
    if table.column_names != schema.names:
        _refuse(f"does not have the columns of format version {version}")
    for field in schema:
        column = table[field.name]
        if column.type != field.type:
            _refuse(f"has {column.type} in column {field.name}, not {field.type}")
        if column.null_count and not field.nullable:
            _refuse(f"has {column.null_count} nulls in column {field.name}")
    table = _as_current_format(table.combine_chunks())
    _require_keys(table, key_parts)
    ranges = {name: _whole_ranges(table, name) for name in ("open_ranges", "holes_before_first")}
    # One after the other: what is asked later relies on what was found right before.
    for what, rows in chain(_impossible_keys(table), _impossible_ranges(table, ranges), _impossible_positions(table)):
        if rows.any():
            key = table["key"][int(np.flatnonzero(rows)[0])].as_py()
            _refuse(f"cannot be right: {what} ({':'.join(key)}, {int(rows.sum())} in all)")
    return table


def range_rows(column: pa.ChunkedArray) -> Ranges:
    """The ranges of a list column."""
    lists = column.combine_chunks()
    keys = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    ranges = lists.flatten()
    return keys, ranges.field("first").to_numpy(), ranges.field("last").to_numpy()


def _format_version(table: pa.Table) -> int:
    written = (table.schema.metadata or {}).get(FORMAT_KEY)
    if written is None:
        _refuse("has no format version, so it was not written by K2")
    text = written.decode(errors="replace")
    if text not in {str(version) for version in _SCHEMAS}:
        raise ProgressError(
            f"the sequence checkpoint has format version {text}, this release reads versions {OLDEST_FORMAT_VERSION} "
            f"to {FORMAT_VERSION}: run the release that wrote it, or a newer one"
        )
    return int(text)


def _as_current_format(table: pa.Table) -> pa.Table:
    if table.column_names == SCHEMA.names:
        return table
    positions = np.cumsum(table["total_messages"].to_numpy())
    table = table.append_column("arrival_number", pa.array(np.arange(1, len(table) + 1)))
    return table.append_column("last_position", pa.array(positions)).cast(SCHEMA)


def _require_keys(table: pa.Table, key_parts: int | None) -> None:
    keys = [tuple(key) for key in table["key"].to_pylist()]
    if any(None in key for key in keys):
        _refuse("has a null within a key")
    lengths = {len(key) for key in keys}
    if len(lengths) > 1 or 0 in lengths or (keys and key_parts not in (None, *lengths)):
        _refuse("has keys of another kind than this tracker's")
    if len(set(keys)) != len(keys):
        _refuse("holds a key twice")


def _whole_ranges(table: pa.Table, name: str) -> Ranges:
    ranges = table[name].combine_chunks().flatten()
    if ranges.null_count or any(ranges.field(end).null_count for end in ("first", "last")):
        _refuse(f"has a null within {name}")
    return range_rows(table[name])


def _impossible_keys(table: pa.Table) -> Iterator[tuple[str, Mask]]:
    """What no key can be, and for each row whether it is that."""
    values = {name: table[name].to_numpy() for name in (*NUMBER_COLUMNS, *_STATISTICS)}
    first, lowest, last = (values[name] for name in NUMBER_COLUMNS)
    counts = [values[name] for name in COUNT_COLUMNS]
    lost = values["lost_in_evicted_ranges"]
    never_evicted = table["highest_evicted"].is_null().to_numpy()
    evicted = table["highest_evicted"].fill_null(0).to_numpy()
    yield "first is above last, or lowest above first", (first > last) | (lowest > first)
    yield "a count is negative", np.any([values[name] < 0 for name in _STATISTICS], axis=0)
    # As Python integers: the sum of what may be anything does not fit into 64 bits.
    added_up = np.sum([count.astype(object) for count in counts], axis=0)
    yield "the counts do not add up to total_messages", np.asarray(added_up != values["total_messages"], np.bool_)
    yield "no number was the first", values["in_order"] < 1
    yield (
        "what was evicted does not lie between lowest and last",
        ~never_evicted & ((evicted <= lowest) | (evicted >= last)),
    )
    yield "numbers were lost and nothing was evicted", never_evicted & (lost > 0) & (values["session_resets"] == 0)


def _impossible_ranges(table: pa.Table, ranges: dict[str, Ranges]) -> Iterator[tuple[str, Mask]]:
    """The same for the ranges of a key. Between two ranges lies a number that was seen."""
    first, lowest, last = (table[name].to_numpy() for name in NUMBER_COLUMNS)
    limits = {"open_ranges": (first, last), "holes_before_first": (lowest, first)}
    causes = {"open_ranges": ("gaps", "out_of_order"), "holes_before_first": ("duplicates", "too_old")}
    # A range has at least one number, and only an empty column has no evicted number to lie around.
    evicted = table["highest_evicted"].fill_null(0).to_numpy()
    was_evicted = table["highest_evicted"].is_valid().to_numpy()
    for name, (keys, firsts, lasts) in ranges.items():
        above, below = limits[name]
        yield f"a range of {name} ends before it begins", _rows_with(len(table), keys, firsts > lasts)
        outside = (firsts <= above[keys]) | (lasts >= below[keys])
        yield f"a range of {name} lies outside its limits", _rows_with(len(table), keys, outside)
        # The end of the range before, where there is one; all lie within their limits, so nothing overflows.
        follows = np.flatnonzero(keys[1:] == keys[:-1]) + 1
        touching = np.zeros(len(keys), np.bool_)
        touching[follows] = firsts[follows] <= lasts[follows - 1] + 1
        yield f"ranges of {name} overlap, touch or are not ascending", _rows_with(len(table), keys, touching)
        around = was_evicted[keys] & (firsts <= evicted[keys]) & (evicted[keys] <= lasts)
        yield f"a range of {name} holds a number that was evicted", _rows_with(len(table), keys, around)
        occasions = sum((table[cause].to_numpy().astype(object) for cause in causes[name]), start=np.array(0, object))
        too_many = np.bincount(keys, minlength=len(table)) > occasions
        yield f"{name} has more ranges than there were occasions", np.asarray(too_many, np.bool_)


def _impossible_positions(table: pa.Table) -> Iterator[tuple[str, Mask]]:
    """The same for the order in which keys came. Every number judged was of one key and had one position."""
    arrivals, positions = (table[name].to_numpy() for name in POSITION_COLUMNS)
    yield "keys are not in order of arrival", np.append(arrivals[:1] < 1, arrivals[1:] <= arrivals[:-1])
    order = np.argsort(positions, kind="stable")
    totals = list(accumulate(table["total_messages"].to_numpy()[order].tolist()))
    too_early = np.zeros(len(table), np.bool_)
    too_early[order] = [total > position for total, position in zip(totals, positions[order].tolist(), strict=True)]
    yield "a key's last number came before so many can have come", too_early
    shared = np.zeros(len(table), np.bool_)
    shared[order[1:]] = positions[order[1:]] == positions[order[:-1]]
    yield "two keys came last with the same number", shared
    newest = np.zeros(len(table), np.bool_)
    if len(table):
        forgotten = int(arrivals[-1]) - len(table)
        unaccounted = int(positions[order[-1]]) - totals[-1]
        newest[order[-1]] = unaccounted < forgotten if forgotten else unaccounted > 0
    yield "the numbers judged are not those of the keys known and forgotten", newest


def _rows_with(rows: int, keys: Int64Array, ranges: Mask) -> Mask:
    found: Mask = np.zeros(rows, np.bool_)
    found[keys[ranges]] = True
    return found


def _refuse(what: str) -> NoReturn:
    raise ProgressError(f"the sequence checkpoint {what}: {_REMEDY}")
