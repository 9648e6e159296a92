"""What the checker of dead letter files must catch."""

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
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
    table_of,
    with_parameters,
    without_stage,
)

_TOPIC = "market.crypto.trades"
_WRITERS = 3
_LETTERS = 40
_LIMIT_BYTES = 2_000
_SHORTEST_LINE, _LONGEST_LINE, _LONG_LINE = 200, 700, 5_000
_LONG_EVERY = 15
_ROW = 1
_PLACE = ("kafka_partition", "kafka_offset")
_NO_LETTER = dict.fromkeys(("topic", "kafka_partition", "kafka_offset", "sha256"))


def clean_letter_files(seed: int) -> History:
    """Three writers of one name, killed: a line for each letter, long ones in files of their own, a torn last line."""
    random = np.random.default_rng(seed)
    written: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for writer in range(_WRITERS):
        letters = [_letter(writer, offset, random) for offset in range(_LETTERS)]
        written += [{**letter, "is_kept": offset < _LETTERS - 1} for offset, letter in enumerate(letters)]
        # The last one was under way when the writer died.
        lines += _laid_out(writer, letters[:-1], random)
        torn = {"line": 1, "size_bytes": 17, "is_whole": False, "run": "name", **_NO_LETTER}
        lines.append({"file": _name(writer, _LETTERS), **torn})
    lines.sort(key=lambda line: (line["file"], line["line"]))
    sizes: dict[str, int] = {}
    for line in lines:
        sizes[line["file"]] = sizes.get(line["file"], 0) + line["size_bytes"]
    files = pa.Table.from_pylist(
        [{"file": name, "size_bytes": size, "sha256": random.bytes(32).hex()} for name, size in sizes.items()]
    )
    parameters = {
        "killed": True,
        "each_once": True,
        "max_size_bytes": _LIMIT_BYTES,
        "writer_column": "kafka_partition",
        "required_writers": _WRITERS,
        "minimum_samples": _WRITERS * (_LETTERS - 1),
    }
    header = Header("planted/letter_files", (), "letter_files", seed, "embedded", START_NS, parameters)
    observations = (
        Observation("written", pa.Table.from_pylist(written)),
        Observation("lines", pa.Table.from_pylist(lines)),
        Observation("files_before", files.slice(0, 4)),
        Observation("files", files),
    )
    return History(header, (), observations)


def _letter(writer: int, offset: int, random: np.random.Generator) -> dict[str, Any]:
    sha256 = hashlib.sha256(random.bytes(40)).hexdigest()
    return {"topic": _TOPIC, "kafka_partition": writer, "kafka_offset": offset, "sha256": sha256}


def _laid_out(writer: int, letters: list[dict[str, Any]], random: np.random.Generator) -> list[dict[str, Any]]:
    """The lines of one writer, a new file where the next line would pass the limit."""
    lines: list[dict[str, Any]] = []
    file, line, size = 0, 0, 0
    for number, letter in enumerate(letters):
        is_long = number % _LONG_EVERY == _LONG_EVERY - 1
        size_bytes = _LONG_LINE if is_long else int(random.integers(_SHORTEST_LINE, _LONGEST_LINE))
        if line and size + size_bytes > _LIMIT_BYTES:
            file, line, size = file + 1, 0, 0
        line, size = line + 1, size + size_bytes
        place = {"file": _name(writer, file), "line": line, "size_bytes": size_bytes}
        lines.append({**place, "is_whole": True, "run": "name", **letter})
    return lines


def _name(writer: int, file: int) -> str:
    # Writers of one name take its counters in turn.
    return f"{_TOPIC}-name-{file * _WRITERS + writer + 1:06d}.jsonl"


def _kept_row(history: History) -> int:
    """A line with a neighbour behind it in its file."""
    lines = table_of(history, "lines").to_pylist()
    return next(
        row
        for row, (one, following) in enumerate(pairwise(lines))
        if one["file"] == following["file"] and one["is_whole"] and row >= _ROW
    )


def _in_lines(name: str, kind: str, edit: TableEdit) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, "lines", edit))


def _on_kept_row(**changed: object) -> Plant:
    def plant(history: History) -> History:
        row = _kept_row(history)
        return edit_stage(history, "lines", lambda table: set_values(table, row, **changed))

    return plant


def _dropped(history: History) -> History:
    row = _kept_row(history)
    return edit_stage(history, "lines", lambda table: drop_rows(table, [row]))


def _split(history: History) -> History:
    """A line ends in one file and goes on in the next: neither half is a letter."""
    row = _kept_row(history)
    return edit_stage(history, "lines", lambda table: set_values(table, row, is_whole=False, **_NO_LETTER))


def _of_two_writers(history: History) -> History:
    """A letter stands in another writer's file."""
    lines = table_of(history, "lines").to_pylist()
    first = lines[_kept_row(history)]
    foreign = next(
        row
        for row, line in enumerate(lines)
        if line["is_whole"] and line["kafka_partition"] != first["kafka_partition"]
    )
    return edit_stage(history, "lines", lambda table: set_values(table, foreign, file=first["file"]))


def _early(history: History) -> History:
    """Each line has a file of its own."""
    rows = table_of(history, "lines").num_rows
    names = pa.array([f"{_TOPIC}-name-{row:06d}.jsonl" for row in range(rows)])
    numbers = pa.array([1] * rows, pa.int64())
    return edit_stage(history, "lines", lambda table: table.set_column(0, "file", names).set_column(1, "line", numbers))


def _one_file_each(history: History) -> History:
    """Only the first file of each writer, and a limit that nobody reached."""

    def first_files(table: pa.Table) -> pa.Table:
        kept = {_name(writer, 0) for writer in range(_WRITERS)}
        return drop_rows(table, [row for row, name in enumerate(table["file"].to_pylist()) if name not in kept])

    left = edit_stage(history, "lines", first_files)
    there = set(zip(*(table_of(left, "lines")[name].to_pylist() for name in _PLACE), strict=True))

    def still_there(table: pa.Table) -> pa.Table:
        places = zip(*(table[name].to_pylist() for name in _PLACE), strict=True)
        return drop_rows(table, [row for row, place in enumerate(places) if place not in there])

    return with_parameters(edit_stage(left, "written", still_there), minimum_samples=1)


SUITE = Suite(
    "letter_files",
    clean_letter_files,
    (
        Defect("line_lost", "lost", _dropped),
        Defect("byte_flipped", "altered", _on_kept_row(sha256="0" * 64)),
        Defect("letter_of_another_offset", "unexpected", _on_kept_row(kafka_offset=9_999)),
        _in_lines("letter_twice", "repeated", lambda table: add_row(table, _ROW)),
        Defect("line_torn_before_the_last", "torn_line", _split),
        Defect("torn_though_nobody_died", "torn_line", lambda one: with_parameters(one, killed=False)),
        Defect("file_of_two_writers", "shared_file", _of_two_writers),
        Defect("line_over_the_limit", "oversized_file", _on_kept_row(size_bytes=_LIMIT_BYTES)),
        Defect("a_file_for_each_line", "rotated_early", _early),
        Defect(
            "earlier_file_written_to",
            "rewritten_file",
            lambda one: edit_stage(one, "files", lambda table: set_values(table, _ROW, sha256="0" * 64)),
        ),
        Defect(
            "earlier_file_gone",
            "rewritten_file",
            lambda one: edit_stage(one, "files", lambda table: drop_rows(table, [_ROW])),
        ),
        Defect("limit_never_reached", "never_rotated", _one_file_each, Outcome.UNKNOWN),
        Defect(
            "a_writer_never_wrote",
            "too_few_writers",
            lambda one: with_parameters(one, required_writers=_WRITERS + 1),
            Outcome.UNKNOWN,
        ),
        Defect("files_not_read", "missing_stage", lambda one: without_stage(one, "lines"), Outcome.UNKNOWN),
    ),
)
