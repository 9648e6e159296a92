"""What the checker of replays must catch."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import MAP, START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    table_of,
    with_attributes,
    with_parameters,
    without_stage,
)

_TOPIC = "market.crypto.trades"
_PARTITIONS = 2
_MESSAGES = 120
_CURABLE_EVERY, _POISON_EVERY = 4, 9
_ROW = 3
_PLACE = (("topic", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64()))
_MESSAGE = (("sha256", pa.string()), ("headers", MAP))
_RECORD = (
    ("session", pa.string()),
    ("exchange", pa.string()),
    ("symbol", pa.string()),
    ("session_sequence", pa.int64()),
    ("event_time_ns", pa.int64()),
    ("receive_time_ns", pa.int64()),
    ("source_sequence", pa.int64()),
    ("trade_id", pa.string()),
    ("price", pa.decimal128(38, 12)),
    ("quantity", pa.decimal128(38, 12)),
    ("side", pa.string()),
    ("venue", pa.string()),
    ("conditions", pa.string()),
)
_SCHEMAS = {
    "curable": pa.schema([*_RECORD, ("outcome", pa.string()), *_PLACE, *_MESSAGE]),
    "poison": pa.schema([*_PLACE, *_MESSAGE]),
    "fed": pa.schema([*_RECORD, ("outcome", pa.string()), *_PLACE]),
    "stored": pa.schema([*_RECORD, *_PLACE]),
    "replayed": pa.schema([*_PLACE, ("replay_of", pa.string()), *_MESSAGE]),
    "dead_letters": pa.schema([*_PLACE]),
}
Row = dict[str, Any]


def clean_replay(seed: int) -> History:
    """Three replays: one of all letters, one that had nothing to send, and one of what had come back."""
    random = np.random.default_rng(seed)
    rows: dict[str, list[Row]] = {stage: [] for stage in _SCHEMAS}
    for number in range(_MESSAGES):
        place = _place(number % _PARTITIONS, number // _PARTITIONS)
        message = {"sha256": random.bytes(32).hex(), "headers": [("trace", f"message {number}"), ("origin", "feed")]}
        if number % _POISON_EVERY == 0:
            rows["poison"].append(place | message)
        elif number % _CURABLE_EVERY == 0:
            rows["curable"].append(_record(number, random) | {"outcome": "ok"} | place | message)
        else:
            rows["fed"].append(_record(number, random) | {"outcome": "ok"} | place)
    letters = [*rows["curable"], *rows["poison"]]
    first = _sent_back(letters, _MESSAGES // _PARTITIONS)
    second = _sent_back(first[len(rows["curable"]) :], _MESSAGES)
    rows["replayed"] = [*first, *second]
    rows["dead_letters"] = [*letters, *first[len(rows["curable"]) :], *second, letters[0]]
    restored = [record | _where(back) for record, back in zip(rows["curable"], first, strict=False)]
    rows["stored"] = [*rows["fed"], *restored]
    observations = tuple(
        Observation(stage, pa.Table.from_pylist(rows[stage], schema=schema)) for stage, schema in _SCHEMAS.items()
    )
    counts = (len(letters), 0, len(rows["poison"]))
    operations = [_replay(number, count) for number, count in enumerate(counts)]
    operations.append(operation("harness", "kill", START_NS, {"exit_signal": 9}))
    header = Header("planted/replay", (), "replay", seed, "embedded", START_NS, {"expected_kills": 1})
    return History(header, tuple(operations), observations)


def _place(partition: int, offset: int) -> Row:
    return {"topic": _TOPIC, "kafka_partition": partition, "kafka_offset": offset}


def _where(row: Row) -> Row:
    return {name: row[name] for name, _ in _PLACE}


def _record(number: int, random: np.random.Generator) -> Row:
    event_time_ns = START_NS + number * 1_000_000 + int(random.integers(0, 1_000_000))
    return {
        "session": "morning",
        "exchange": "BINANCE",
        "symbol": ("BTCUSDT", "ETHUSDT")[number % _PARTITIONS],
        "session_sequence": number // _PARTITIONS + 1,
        "event_time_ns": event_time_ns,
        "receive_time_ns": event_time_ns + 5_000,
        "source_sequence": 70_000 + number // _PARTITIONS,
        "trade_id": f"T{number}",
        "price": Decimal(int(random.integers(1, 10**9))) / 100,
        "quantity": Decimal(int(random.integers(1, 10**9))) / 1000,
        "side": "BUY",
        "venue": None,
        "conditions": None,
    }


def _sent_back(letters: list[Row], first_offset: int) -> list[Row]:
    """The messages of a replay of these letters, which name their source after the headers they had."""
    return [
        {
            **_place(letter["kafka_partition"], first_offset + number),
            "replay_of": f"{letter['topic']}/{letter['kafka_partition']}/{letter['kafka_offset']}",
            "sha256": letter["sha256"],
            "headers": [*letter["headers"][:2], ("k2.replay.of", "the source")],
        }
        for number, letter in enumerate(letters)
    ]


def _replay(number: int, count: int) -> Any:
    attributes = {"variant": str(number), "exit_code": 0, "sent": count, "must_send": count}
    return operation("operator", "replay", START_NS + number * SECOND_NS, attributes)


def _row_of(history: History, stage: str, matches: Callable[[Row], bool]) -> int:
    return next(row for row, value in enumerate(table_of(history, stage).to_pylist()) if matches(value))


def _restored_row(history: History) -> int:
    """The row of a record whose cause is gone."""
    curable = {(row["symbol"], row["session_sequence"]) for row in table_of(history, "curable").to_pylist()}
    return _row_of(history, "stored", lambda row: (row["symbol"], row["session_sequence"]) in curable)


def _on_restored(edit: Callable[[pa.Table, int], pa.Table]) -> Plant:
    return lambda history: edit_stage(history, "stored", lambda table: edit(table, _restored_row(history)))


def _replayed_poison(history: History) -> Row:
    """The last message sent back, which belongs to what cannot be cured."""
    row: Row = table_of(history, "replayed").to_pylist()[-1]
    return row


def _came_back(history: History) -> History:
    cured = _where(table_of(history, "replayed").to_pylist()[_ROW])
    return edit_stage(history, "dead_letters", lambda table: add_row(table, 0, **cured))


def _vanished(history: History) -> History:
    place = _where(_replayed_poison(history))
    row = _row_of(history, "dead_letters", lambda letter: _where(letter) == place)
    return edit_stage(history, "dead_letters", lambda table: drop_rows(table, [row]))


def _poison_stored(place_of: Callable[[History], Row]) -> Plant:
    def plant(history: History) -> History:
        place = _where(place_of(history))
        return edit_stage(history, "stored", lambda table: add_row(table, 0, session_sequence=10_000, **place))

    return plant


def _never_sent(history: History) -> History:
    """A curable letter was left out, and its record is a row all the same."""
    return edit_stage(history, "replayed", lambda table: drop_rows(table, [_ROW]))


def _on_replayed(**changed: object) -> Plant:
    return lambda history: edit_stage(history, "replayed", lambda table: set_values(table, _ROW, **changed))


def _sent_again(history: History) -> History:
    return edit_stage(history, "replayed", lambda table: add_row(table, _ROW, kafka_offset=5_000))


def _never_a_letter(history: History) -> History:
    """The one letter that is there once."""
    place = _where(table_of(history, "curable").to_pylist()[_ROW])
    row = _row_of(history, "dead_letters", lambda letter: _where(letter) == place)
    return edit_stage(history, "dead_letters", lambda table: drop_rows(table, [row]))


def _second_replay(**changed: object) -> Plant:
    return lambda history: edit_operations(history, "replay", lambda one: with_attributes(one, changed), "1")


def _in(stage: str, name: str, kind: str, edit: Callable[[pa.Table], pa.Table]) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, stage, edit))


SUITE = Suite(
    "replay",
    clean_replay,
    (
        Defect("restored_row_lost", "not_restored", _on_restored(lambda table, row: drop_rows(table, [row]))),
        Defect("restored_row_twice", "restored_twice", _on_restored(add_row)),
        Defect(
            "price_altered",
            "restored_altered",
            _on_restored(lambda table, row: set_values(table, row, price=Decimal("0.01"))),
        ),
        Defect(
            "row_of_another_message",
            "restored_elsewhere",
            _on_restored(lambda table, row: set_values(table, row, kafka_offset=9_000)),
        ),
        Defect("cured_message_refused", "came_back", _came_back),
        Defect("poison_vanished", "not_returned", _vanished),
        Defect("replayed_poison_became_a_row", "poison_stored", _poison_stored(_replayed_poison)),
        Defect(
            "poison_became_a_row",
            "poison_stored",
            _poison_stored(lambda history: table_of(history, "poison").to_pylist()[0]),
        ),
        Defect("letter_left_out", "not_sent", _never_sent),
        Defect("letter_sent_again", "sent_twice", _sent_again),
        Defect("bytes_altered", "sent_altered", _on_replayed(sha256="0" * 64)),
        Defect("sent_to_another_partition", "sent_altered", _on_replayed(kafka_partition=7)),
        Defect("headers_left_out", "sent_altered", _on_replayed(headers=[("origin", "feed")])),
        Defect("sent_what_was_no_letter", "sent_unasked", _on_replayed(replay_of=f"{_TOPIC}/0/9999")),
        Defect("second_replay_sent_some", "wrong_count", _second_replay(sent=1)),
        Defect("second_replay_failed", "replay_failed", _second_replay(exit_code=74)),
        _in("stored", "neighbour_dropped", "neighbour_lost", lambda table: drop_rows(table, [_ROW])),
        _in("stored", "neighbour_twice", "neighbour_twice", lambda table: add_row(table, _ROW)),
        Defect("never_refused_at_first", "never_a_dead_letter", _never_a_letter, Outcome.UNKNOWN),
        Defect(
            "kill_without_effect",
            "fault_did_not_bite",
            lambda one: with_parameters(one, expected_kills=2),
            Outcome.UNKNOWN,
        ),
        Defect(
            "nothing_replayed",
            "never_replayed",
            lambda one: replace(one, operations=one.of_action("kill")),
            Outcome.UNKNOWN,
        ),
        Defect("source_not_read", "missing_stage", lambda one: without_stage(one, "replayed"), Outcome.UNKNOWN),
    ),
)
