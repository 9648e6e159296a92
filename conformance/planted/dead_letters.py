"""What the checker of dead letters must catch."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import History, Observation
from conformance.planted.journey import clean_journey
from conformance.planted.records import MAP, TRADES
from conformance.planted.suite import (
    Defect,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_stage,
    set_values,
    table_of,
    with_parameters,
)

_KINDS = ("empty", "wrong_magic", "unknown_schema", "truncated", "surplus_byte")
_ROW = 1


def clean_dead_letters(seed: int) -> History:
    """Poison of five kinds among good records; one dead letter was written twice, which is allowed."""
    history = clean_journey(
        seed,
        records=1_200,
        checker="dead_letters",
        stages=("fed", "stored", "dead_letters"),
        required_kinds=list(_KINDS),
    )
    random = np.random.default_rng(seed)
    observations = []
    for one in history.observations:
        if one.stage != "dead_letters":
            observations.append(one)
            continue
        places = one.table.select(["topic", "kafka_partition", "kafka_offset"])
        sums = [hashlib.sha256(random.bytes(40)).hexdigest() for _ in range(places.num_rows)]
        poison = places.append_column("sha256", pa.array(sums))
        kinds = [_KINDS[row % len(_KINDS)] for row in range(places.num_rows)]
        sent = [[("origin", kind), ("trace", f"message {row}")] for row, kind in enumerate(kinds)]
        poison_rows = poison.append_column("kind", pa.array(kinds)).append_column("headers", pa.array(sent, MAP))
        observations.append(Observation("poison", poison_rows))
        headers = [
            [*original, *_headers(row["topic"], row["kafka_partition"], row["kafka_offset"])]
            for original, row in zip(sent, places.to_pylist(), strict=True)
        ]
        letters = poison.append_column("headers", pa.array(headers, MAP))
        observations.append(Observation("dead_letters", add_row(letters, 0)))
    return replace(history, observations=tuple(observations))


def _headers(topic: str, partition: int, offset: int) -> list[tuple[str, str]]:
    return [
        ("k2.source.topic", topic),
        ("k2.source.partition", str(partition)),
        ("k2.source.offset", str(offset)),
        ("k2.stage", "decode"),
        ("k2.error.class", "TRUNCATED"),
        ("k2.error.message", "the body ends before its last field"),
        ("k2.time", "1760000000000000000"),
    ]


def _with_header(table: pa.Table, name: str, value: str | None) -> pa.Table:
    headers = dict(table["headers"][_ROW].as_py())
    headers[name] = value
    if value is None:
        del headers[name]
    return set_values(table, _ROW, headers=list(headers.items()))


def _byte_flipped(table: pa.Table) -> pa.Table:
    flipped = hashlib.sha256(table["sha256"][_ROW].as_py().encode()).hexdigest()
    return set_values(table, _ROW, sha256=flipped)


def _second_copy_altered(table: pa.Table) -> pa.Table:
    return set_values(table, table.num_rows - 1, sha256="0" * 64)


def _poison_stored(history: History) -> History:
    place = table_of(history, "poison").to_pylist()[_ROW]
    coordinates = {name: place[name] for name in ("topic", "kafka_partition", "kafka_offset")}
    return edit_stage(
        history, "stored", lambda table: add_row(table, 0, session_sequence=10_000, **coordinates), TRADES
    )


def _in(stage: str, name: str, kind: str, edit: TableEdit) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, stage, edit))


SUITE = Suite(
    "dead_letters",
    clean_dead_letters,
    (
        _in("dead_letters", "poison_dropped", "missing_dead_letter", lambda table: drop_rows(table, [_ROW])),
        _in(
            "dead_letters",
            "good_message_dead_lettered",
            "unexpected_dead_letter",
            lambda table: add_row(table, _ROW, kafka_offset=table["kafka_offset"][_ROW].as_py() + 1),
        ),
        _in("dead_letters", "byte_flipped", "altered_bytes", _byte_flipped),
        _in("dead_letters", "second_copy_altered", "altered_bytes", _second_copy_altered),
        _in("dead_letters", "header_left_out", "missing_header", lambda table: _with_header(table, "k2.stage", None)),
        _in("dead_letters", "header_empty", "missing_header", lambda table: _with_header(table, "k2.error.class", "")),
        _in("dead_letters", "original_left_out", "lost_header", lambda table: _with_header(table, "origin", None)),
        _in("dead_letters", "original_altered", "lost_header", lambda table: _with_header(table, "trace", "message 0")),
        _in(
            "dead_letters",
            "header_of_another_offset",
            "wrong_header",
            lambda table: _with_header(table, "k2.source.offset", "0"),
        ),
        Defect("poison_became_a_row", "poison_stored", _poison_stored),
        _in("stored", "neighbour_dropped", "neighbour_lost", lambda table: drop_rows(table, [_ROW])),
        Defect(
            "a_kind_never_sent",
            "kind_untried",
            lambda one: with_parameters(one, required_kinds=[*_KINDS, "tombstone"]),
            Outcome.UNKNOWN,
        ),
    ),
)
