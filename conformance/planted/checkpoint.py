"""What the checker of state checkpoints must catch.

The clean histories are planned: each number comes with its event, and with the range that it makes the tracker give up.
What a checkpoint holds is then counted from lists: numbers that came, numbers that did not, the keys that came last.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.journey import SECOND_NS
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_stage,
    set_values,
    with_parameters,
    without_stage,
)

TOPIC = "market.crypto.trades"
LIMITS = {"max_keys": 2, "max_open_ranges": 2}
_SYMBOLS = (("BTCUSDT", "ETHUSDT"), ("BNBUSDT",))
_SESSIONS = ("monday", "tuesday", "wednesday")
_FIRST = 5_000
_SNAPSHOTS = 5
_COUNTS = {
    "in_order": "IN_ORDER",
    "gaps": "GAP",
    "out_of_order": "OUT_OF_ORDER",
    "duplicates": "DUPLICATE",
    "session_resets": "SESSION_RESET",
    "too_old": "TOO_OLD",
}
_RANGES = pa.list_(pa.struct([("first", pa.int64()), ("last", pa.int64())]))
_NUMBERS = ("first", "lowest", "last", "highest_evicted", "total_messages", *_COUNTS, "lost_in_evicted_ranges")
_SCHEMA = pa.schema(
    [
        ("snapshot_id", pa.int64()),
        ("topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("next_offset", pa.int64()),
        ("problem", pa.string()),
        ("tracker", pa.string()),
        ("key", pa.list_(pa.string())),
        *((name, pa.int64()) for name in _NUMBERS),
        ("open_ranges", _RANGES),
        ("holes_before_first", _RANGES),
        ("arrival_number", pa.int64()),
        ("last_position", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A number that one tracker judged, what was planned for it, and the range it made the tracker give up."""

    key: tuple[str, ...]
    number: int
    event: str
    given_up: range | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a partition; the source tracker sees no repeats. Poison and rejects are judged by neither."""

    record: dict[str, Any]
    session: Judged | None = None
    source: Judged | None = None


def clean_checkpoint(seed: int) -> History:
    """Three sessions in two partitions, poison between their records, and a snapshot every now and then."""
    random = np.random.default_rng(seed)
    logs = [_log(symbols, random) for symbols in _SYMBOLS]
    ends = [[*np.sort(random.integers(1, len(log), _SNAPSHOTS - 1)).tolist(), len(log)] for log in logs]
    logged, letters, snapshots, checkpoints = [], [], [], []
    for partition, log in enumerate(logs):
        for offset, message in enumerate(log):
            place = {"topic": TOPIC, "kafka_partition": partition, "kafka_offset": offset}
            logged.append({**place, **message.record})
            if message.session is None:
                letters.append(place)
    for number in range(_SNAPSHOTS):
        progress = [
            {"topic": TOPIC, "partition": partition, "next_offset": ends[partition][number]}
            for partition in range(len(logs))
        ]
        committed = START_NS + number * SECOND_NS
        snapshots.append(
            {
                "snapshot_id": number + 1,
                "parent_id": number or None,
                "committed_wall_ns": committed,
                "progress": progress,
            }
        )
        for partition, log in enumerate(logs):
            end = ends[partition][number]
            head = {"snapshot_id": number + 1, "topic": TOPIC, "kafka_partition": partition, "next_offset": end}
            checkpoints += [{**head, **row} for row in ({}, *_state(log[:end]))]
    parameters = {"sequence": LIMITS, "must_occur": ["forgotten_keys", "session_resets", "lost_in_evicted_ranges"]}
    return History(
        Header("planted/checkpoint", (), "checkpoint", seed, "embedded", START_NS, parameters),
        observations=(
            Observation("logged", pa.Table.from_pylist(logged)),
            Observation("dead_letters", pa.Table.from_pylist(letters)),
            Observation("snapshots", pa.Table.from_pylist(snapshots)),
            Observation("checkpoints", pa.Table.from_pylist(checkpoints, schema=_SCHEMA)),
        ),
    )


def _log(symbols: tuple[str, ...], random: np.random.Generator) -> list[Message]:
    """The sessions one after the other; in each the symbols in turn, and a repeat, poison and a reject."""
    log: list[Message] = []
    plans = {symbol: _source_plan(symbol, int(random.integers(4, 12))) for symbol in symbols}
    for session in _SESSIONS:
        counted: Counter[str] = Counter()
        parts = {symbol: plans[symbol].pop(0) for symbol in symbols}
        while any(parts.values()):
            for symbol in symbols:
                if parts[symbol]:
                    counted[symbol] += 1
                    log.append(_message(session, symbol, counted[symbol], parts[symbol].pop(0)))
        repeated = log[-1]
        assert repeated.session is not None
        log.append(replace(repeated, session=replace(repeated.session, event="DUPLICATE"), source=None))
        log.append(Message({"decode_error": "body ends early"}))
        log.append(Message({**repeated.record, "session_sequence": 900, "source_sequence": 1}))
    return log


def _source_plan(symbol: str, width: int) -> list[list[Judged]]:
    """The exchange's numbers of a symbol, session by session."""
    key = ("BINANCE", symbol)

    def planned(event: str, *numbers: int, given_up: range | None = None) -> list[Judged]:
        return [Judged(key, number, event, given_up) for number in numbers]

    second = _FIRST + width + 8
    monday = [
        *planned("IN_ORDER", *range(_FIRST, _FIRST + 5)),
        *planned("GAP", second),
        *planned("OUT_OF_ORDER", second - 1, second - 3),
        *planned("DUPLICATE", _FIRST + 2, second),
    ]
    # Three ranges are open with the first of these: the lowest, before second - 3, is given up.
    tuesday = [
        *planned("GAP", second + 4, given_up=range(_FIRST + 5, second - 3)),
        *planned("IN_ORDER", second + 5),
        *planned("OUT_OF_ORDER", second - 2, second + 3),
        *planned("DUPLICATE", _FIRST - 3),
    ]
    # With the hole before the first number two are open again: the next one gives up the hole, which costs nothing.
    tuesday += planned("GAP", second + 9, given_up=range(_FIRST - 2, _FIRST))
    wednesday = [
        *planned("TOO_OLD", second - 400),
        *planned("SESSION_RESET", 4),
        *planned("IN_ORDER", *range(5, 5 + width)),
        *planned("GAP", width + 9),
    ]
    wednesday[0] = replace(wednesday[0], given_up=range(second - 399, _FIRST - 3))
    return [monday, tuesday, wednesday]


def _message(session: str, symbol: str, number: int, source: Judged) -> Message:
    record = {
        "session": session,
        "exchange": "BINANCE",
        "symbol": symbol,
        "session_sequence": number,
        "source_sequence": source.number,
        "decode_error": None,
    }
    return Message(record, Judged((session, "BINANCE", symbol), number, "IN_ORDER"), source)


def _state(log: list[Message]) -> Iterator[dict[str, Any]]:
    """The rows of the checkpoint after these messages, from lists alone. No key comes back once it was forgotten."""
    for tracker in ("source", "session"):
        judged = [one for message in log if (one := getattr(message, tracker)) is not None]
        arrivals = list(dict.fromkeys(one.key for one in judged))
        last_came = list(dict.fromkeys(one.key for one in reversed(judged)))
        for key in arrivals:
            if key in last_came[: LIMITS["max_keys"]]:
                of_key = [one for one in judged if one.key == key]
                position = max(place for place, one in enumerate(judged, start=1) if one is of_key[-1])
                order = {"arrival_number": arrivals.index(key) + 1, "last_position": position}
                yield {"tracker": tracker, "key": list(key), **_key_state(of_key), **order}


def _key_state(judged: list[Judged]) -> dict[str, Any]:
    events = [one.event for one in judged]
    began = max((place for place, event in enumerate(events) if event == "SESSION_RESET"), default=0)
    numbers = [one.number for one in judged[began:]]
    first, lowest, last = numbers[0], min(numbers), max(numbers)
    given_up = [one.given_up for one in judged if one.given_up is not None]
    given_up_here = [number for one in judged[began:] if one.given_up is not None for number in one.given_up]
    settled = {*numbers, *given_up_here}
    return {
        "first": first,
        "lowest": lowest,
        "last": last,
        "highest_evicted": max(given_up_here, default=None),
        "total_messages": len(judged),
        **{name: events.count(event) for name, event in _COUNTS.items()},
        "lost_in_evicted_ranges": sum(len(one) for one in given_up if one.start > _FIRST),
        "open_ranges": _ranges([number for number in range(first, last) if number not in settled]),
        "holes_before_first": _ranges([number for number in range(lowest, first) if number not in settled]),
    }


def _ranges(numbers: list[int]) -> list[dict[str, int]]:
    begins = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return [{"first": first, "last": last} for first, last in zip(begins, ends, strict=True)]


def _row(table: pa.Table, tracker: str | None = None, snapshot: int = _SNAPSHOTS) -> int:
    """The first row of a tracker (the file's own: None) in a snapshot's checkpoint of partition 0."""
    rows = table.to_pylist()
    return next(
        index
        for index, row in enumerate(rows)
        if (row["snapshot_id"], row["kafka_partition"], row["tracker"]) == (snapshot, 0, tracker)
    )


def _rows_of_file(table: pa.Table, snapshot: int = _SNAPSHOTS) -> list[int]:
    rows = table.to_pylist()
    return [index for index, row in enumerate(rows) if (row["snapshot_id"], row["kafka_partition"]) == (snapshot, 0)]


def _changed(tracker: str, name: str, by: int) -> TableEdit:
    def edit(table: pa.Table) -> pa.Table:
        row = _row(table, tracker)
        return set_values(table, row, **{name: (table[name][row].as_py() or 0) + by})

    return edit


def _without_keys(problem: str) -> TableEdit:
    """The file is there no more: nothing of it but the reason."""

    def edit(table: pa.Table) -> pa.Table:
        head, *keys = _rows_of_file(table)
        return drop_rows(set_values(table, head, problem=problem), keys)

    return edit


def _key_of_monday_kept(table: pa.Table) -> pa.Table:
    return add_row(table, _row(table, "session"), key=["monday", "BINANCE", "BTCUSDT"])


def _state_before(table: pa.Table) -> pa.Table:
    """The newest snapshot names the checkpoint of the one before it."""
    keys = _rows_of_file(table)[1:]
    older = table.take(pa.array(_rows_of_file(table, _SNAPSHOTS - 1)[1:]))
    place = older.schema.get_field_index("snapshot_id")
    moved = older.set_column(place, older.schema.field(place), pa.array([_SNAPSHOTS] * len(older), pa.int64()))
    return pa.concat_tables([drop_rows(table, keys), moved])


def _empty_after_restart(table: pa.Table) -> pa.Table:
    """The consumer that went on before the last snapshot began with nothing: its source keys are new."""
    row = _row(table, "source")
    return set_values(table, row, arrival_number=1, last_position=2, total_messages=2, first=table["last"][row].as_py())


def _reject_judged(table: pa.Table) -> pa.Table:
    row = _row(table, "session")
    return set_values(table, row, last=900, total_messages=table["total_messages"][row].as_py() + 1)


def _in_checkpoints(name: str, kind: str, edit: TableEdit) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, "checkpoints", edit))


def _nothing_consumed(history: History) -> History:
    emptied = edit_stage(history, "checkpoints", lambda table: table.slice(0, 0))
    return edit_stage(with_parameters(emptied, must_occur=[]), "snapshots", lambda table: table.slice(0, 0))


def _log_dropped(row: int) -> Plant:
    return lambda history: edit_stage(history, "logged", lambda table: drop_rows(table, [row]))


SUITE = Suite(
    "checkpoint",
    clean_checkpoint,
    (
        _in_checkpoints("file_gone", "missing_checkpoint", _without_keys("is gone")),
        _in_checkpoints("none_named", "missing_checkpoint", lambda table: drop_rows(table, _rows_of_file(table))),
        _in_checkpoints("last_off_by_one", "differs", _changed("source", "last", 1)),
        _in_checkpoints("event_not_counted", "differs", _changed("source", "duplicates", -1)),
        _in_checkpoints("eviction_forgotten", "differs", _changed("source", "lost_in_evicted_ranges", -1)),
        _in_checkpoints("order_of_keys_off", "differs", _changed("session", "last_position", -1)),
        _in_checkpoints("gap_lost", "differs", lambda table: set_values(table, _row(table, "source"), open_ranges=[])),
        _in_checkpoints("reject_judged", "differs", _reject_judged),
        _in_checkpoints("state_lost_at_a_restart", "differs", _empty_after_restart),
        _in_checkpoints("key_lost", "missing_key", lambda table: drop_rows(table, [_row(table, "source")])),
        _in_checkpoints("wrong_key_forgotten", "missing_key", lambda table: drop_rows(table, [_row(table, "session")])),
        _in_checkpoints("forgotten_key_kept", "extra_key", _key_of_monday_kept),
        _in_checkpoints("key_twice", "extra_key", lambda table: add_row(table, _row(table, "source"))),
        _in_checkpoints("checkpoint_of_the_batch_before", "wrong_offset", _state_before),
        _in_checkpoints(
            "offset_of_the_batch_before",
            "wrong_offset",
            lambda table: set_values(
                table, _row(table), next_offset=table["next_offset"][_row(table, None, 1)].as_py()
            ),
        ),
        Defect("log_seen_in_part", "log_incomplete", _log_dropped(0), Outcome.UNKNOWN),
        Defect("nothing_consumed", "nothing_to_compare", _nothing_consumed, Outcome.UNKNOWN),
        Defect(
            "fault_did_not_occur",
            "did_not_occur",
            lambda history: with_parameters(history, must_occur=["reordered_sessions"]),
            Outcome.UNKNOWN,
        ),
        Defect("log_not_followed", "missing_stage", lambda one: without_stage(one, "logged"), Outcome.UNKNOWN),
        Defect("files_not_read", "missing_stage", lambda one: without_stage(one, "checkpoints"), Outcome.UNKNOWN),
    ),
)
