"""What the checker of fates must catch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation, Operation
from conformance.planted.journey import operation
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    with_attributes,
    with_parameters,
    without_stage,
)

_TOPIC = "market.crypto.quotes"
_BITS = {"late": 1, "crossed_quote": 2, "zero_price": 16}
_PLACE = [("topic", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
_SENT = pa.schema([*_PLACE, *((name, pa.string()) for name in ("kind", "fate", "reason", "flags"))])
# Kind, fate, reason, flags.
_KINDS = (
    ("good", "row", "", ""),
    ("crossed", "row", "", "crossed_quote"),
    ("crossed at zero", "row", "", "crossed_quote,zero_price"),
    ("negative", "dead_letter", "validate/bid_price_negative", ""),
    ("cut off", "dead_letter", "decode/truncated", ""),
    ("repeated", "duplicate", "", ""),
)
_ROUNDS = 10
# Rows of the stages that the defects touch.
_GOOD, _CROSSED, _LETTER = 0, 1, 0


def clean_fates(seed: int) -> History:
    """Messages of six kinds in some order, each with the fate of its kind."""
    order = np.random.default_rng(seed).permutation(len(_KINDS) * _ROUNDS)
    names = ("kind", "fate", "reason", "flags")
    sent = [
        {"topic": _TOPIC, "kafka_partition": 0, "kafka_offset": offset, **dict(zip(names, kind, strict=True))}
        for offset, kind in enumerate(_KINDS[number % len(_KINDS)] for number in order)
    ]
    rows = sorted((message for message in sent if message["fate"] == "row"), key=lambda message: str(message["flags"]))
    letters = [message for message in sent if message["fate"] == "dead_letter"]
    counted: dict[str, Any] = {
        "data_type": "quotes",
        "received": len(sent),
        "duplicates": _ROUNDS,
        "rejected": {"validate/bid_price_negative": _ROUNDS, "decode/truncated": _ROUNDS},
        "flagged": {"crossed_quote": 2 * _ROUNDS, "zero_price": _ROUNDS},
    }
    stored_schema = pa.schema([*_PLACE, ("quality_flags", pa.int32())])
    letter_schema = pa.schema([*_PLACE, ("reason", pa.string())])
    stored = [{**row, "quality_flags": _bits(str(row["flags"]))} for row in rows]
    observations = (
        Observation("sent", pa.Table.from_pylist(sent, schema=_SENT)),
        Observation("stored", pa.Table.from_pylist(stored, schema=stored_schema), "quotes"),
        Observation("dead_letters", pa.Table.from_pylist(letters, schema=letter_schema)),
    )
    parameters = {"flag_bits": _BITS, "required_kinds": [kind[0] for kind in _KINDS], "minimum_samples": len(sent)}
    header = Header("planted/fates", (), "fates", seed, "embedded", START_NS, parameters)
    return History(header, (operation("consumer", "counted", START_NS, counted),), observations)


def _bits(flags: str) -> int:
    return sum(_BITS[name] for name in flags.split(",") if name)


def _in(stage: str, edit: TableEdit) -> Plant:
    return lambda history: edit_stage(history, stage, edit)


def _counting(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Plant:
    def changed(one: Operation) -> Operation:
        return with_attributes(one, edit(dict(one.attributes)))

    return lambda history: edit_operations(history, "counted", changed)


def _dead_letter_of_a_row(history: History) -> History:
    (stored,) = history.of_stage("stored")
    offset = stored.table["kafka_offset"][_GOOD].as_py()
    return edit_stage(history, "dead_letters", lambda table: add_row(table, _LETTER, kafka_offset=offset))


def _letter_made_a_row(history: History) -> History:
    (letters,) = history.of_stage("dead_letters")
    offset = letters.table["kafka_offset"][_LETTER].as_py()
    without = edit_stage(history, "dead_letters", lambda table: drop_rows(table, [_LETTER]))
    return edit_stage(without, "stored", lambda table: add_row(table, _GOOD, kafka_offset=offset))


def _flag_seen(flag: int) -> TableEdit:
    return lambda table: set_values(table, _CROSSED + _ROUNDS, quality_flags=flag)


SUITE = Suite(
    "fates",
    clean_fates,
    (
        Defect("row_lost", "unaccounted", _in("stored", lambda table: drop_rows(table, [_GOOD]))),
        Defect("letter_lost", "unaccounted", _in("dead_letters", lambda table: drop_rows(table, [_LETTER]))),
        Defect("row_lost_and_not_added_up", "sum_differs", _in("stored", lambda table: drop_rows(table, [_GOOD]))),
        Defect("row_dead_lettered_as_well", "two_fates", _dead_letter_of_a_row),
        Defect("letter_made_a_row", "wrong_fate", _letter_made_a_row),
        Defect(
            "reason_of_another_kind",
            "wrong_reason",
            _in("dead_letters", lambda table: set_values(table, _LETTER, reason="validate/ask_price_negative")),
        ),
        Defect("flag_lost", "wrong_flags", _in("stored", _flag_seen(0))),
        Defect("flag_of_another_rule", "wrong_flags", _in("stored", _flag_seen(16))),
        Defect("flag_without_a_name", "wrong_flags", _in("stored", _flag_seen(2 + 64))),
        Defect(
            "row_from_nowhere", "unknown_origin", _in("stored", lambda table: add_row(table, _GOOD, kafka_offset=9_999))
        ),
        Defect(
            "letter_from_nowhere",
            "unknown_origin",
            _in("dead_letters", lambda table: add_row(table, _LETTER, kafka_offset=9_999)),
        ),
        Defect("message_not_polled", "sum_differs", _counting(lambda one: {"received": one["received"] - 1})),
        Defect("duplicate_not_counted", "sum_differs", _counting(lambda one: {"duplicates": one["duplicates"] - 1})),
        Defect("reason_not_counted", "count_differs", _counting(lambda one: {"rejected": {"decode/truncated": 10}})),
        Defect(
            "flag_counted_twice",
            "count_differs",
            _counting(lambda one: {"flagged": {**one["flagged"], "zero_price": 2 * _ROUNDS}}),
        ),
        Defect("flags_not_counted", "count_differs", _counting(lambda _: {"flagged": {}})),
        Defect(
            "counts_not_looked_at",
            "not_counted",
            lambda one: edit_operations(one, "counted", lambda _: None),
            Outcome.UNKNOWN,
        ),
        Defect(
            "letters_not_followed", "missing_stage", lambda one: without_stage(one, "dead_letters"), Outcome.UNKNOWN
        ),
        Defect(
            "a_kind_never_sent",
            "kind_untried",
            lambda one: with_parameters(one, required_kinds=["a surprise"]),
            Outcome.UNKNOWN,
        ),
    ),
)
