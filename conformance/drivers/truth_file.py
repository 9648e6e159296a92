"""Reads the truth file of a synthetic feed: JSON lines, as docs/feeds.md describes them, read without K2."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

_TEXT = ("kind", "data_type", "exchange", "symbol", "session", "defect")
_NUMBERS = ("session_sequence", "source_sequence", "overtaken_at", "first_missing", "last_missing", "numbering")
_FAULTS = ("gap", "duplicate", "reordering", "reset", "bad_record")
_PLANTED_SCHEMA = pa.schema([*((name, pa.string()) for name in _TEXT), *((name, pa.int64()) for name in _NUMBERS)])
_KEY_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("data_type", "exchange", "symbol", "session")),
        ("records", pa.int64()),
        ("is_numbered", pa.bool_()),
    ]
)
_NO_NUMBER = "NONE"


@dataclass(frozen=True, slots=True)
class Truth:
    """What a truth file says.

    Attributes:
        keys: stage `keys`.
        planted: stage `planted`.
        clock_skews_ns: of each exchange and symbol.
        is_complete: whether its last line is its end, and counts the lines before it.
    """

    keys: pa.Table
    planted: pa.Table
    clock_skews_ns: dict[tuple[str, str], int]
    is_complete: bool


def read_truth_file(path: Path) -> Truth:
    """Read a truth file, also one that was cut off."""
    lines = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    keys = [
        {**{name: line.get(name) for name in _KEY_SCHEMA.names}, "is_numbered": set(line["events"]) != {_NO_NUMBER}}
        for line in lines
        if line["kind"] == "key"
    ]
    planted = [{name: line.get(name) for name in _PLANTED_SCHEMA.names} for line in lines if line["kind"] in _FAULTS]
    last = lines[-1] if lines else {}
    counted = sum(last.get("lines", {}).values()) if last.get("kind") == "end" else None
    return Truth(
        pa.Table.from_pylist(keys, schema=_KEY_SCHEMA),
        pa.Table.from_pylist(planted, schema=_PLANTED_SCHEMA),
        {(line["exchange"], line["symbol"]): line["clock_skew_ns"] for line in lines if line["kind"] == "clock_skew"},
        counted == len(lines) - 1,
    )
