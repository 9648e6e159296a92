"""Poison messages: each becomes a dead letter with its bytes, none becomes a row, and its neighbours are unharmed.

Verified:
- missing_dead_letter, unexpected_dead_letter: the dead letters are those of the poison messages, as a set of source
  coordinates (an entry may be there more than once).
- altered_bytes: every entry holds the bytes that were sent.
- missing_header: every entry has each required header, and none is empty.
- lost_header: every entry has each header its message was sent with, unaltered.
- wrong_header: the headers that repeat the source coordinates agree with them.
- poison_stored: no row of the table has the coordinates of a poison message.
- neighbour_lost: every acknowledged good record is in the table.

Not verified:
- whether stage and error class name the right reason.
- values of the neighbours (see `provenance`).
- the order of the entries, and that the dead letter was acknowledged before the source offset (see `delivery`).

Reads the stages
    poison        topic, kafka_partition, kafka_offset, sha256 (of the bytes), kind, headers (as sent, map of text to
                  text; not compared where there is no such column)
    dead_letters  topic, kafka_partition, kafka_offset (of the source), sha256, headers (map of text to text)
    fed, stored   the good neighbours and the table
the operation drain, and the parameters required_headers (default: K2's), coordinate_headers (the three of them that
repeat topic, partition and offset) and required_kinds (kinds of poison that must be among the messages).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.accounting import find_lost, settle
from conformance.checkers.journey import DEAD_LETTERS, load_journey
from conformance.checkers.verdict import Finding, Outcome, Verdict, conclude, doubt, unknown
from conformance.history import History

Place = tuple[str, int, int]
_STAGES = ("poison", DEAD_LETTERS, "fed", "stored")
_COORDINATE_HEADERS = ("k2.source.topic", "k2.source.partition", "k2.source.offset")
_HEADERS = (*_COORDINATE_HEADERS, "k2.stage", "k2.error.class", "k2.error.message", "k2.time")


def check(history: History) -> Verdict:
    """The verdict on a history of poison messages; samples are the poison messages."""
    missing = [stage for stage in _STAGES if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    poison = {_place(row): row for row in history.rows("poison")}
    letters = history.rows(DEAD_LETTERS)
    found = {_place(letter) for letter in letters}
    stored = _stored_places(history, {place[2] for place in poison})
    findings = [
        *_places("missing_dead_letter", "poison that was not dead-lettered", set(poison) - found),
        *_places("unexpected_dead_letter", "a dead letter of a message that is not poison", found - set(poison)),
        *_places("poison_stored", "a row of the table comes from a poison message", stored & set(poison)),
        *_altered(poison, letters),
        *_headers(history, letters),
        *_lost_headers(poison, letters),
        *_neighbours(history),
        *_coverage(history, poison),
    ]
    passed = f"{len(poison)} poison messages dead-lettered with their bytes, no good record harmed"
    return conclude(len(poison), findings, passed)


def _place(row: Mapping[str, Any]) -> Place:
    return row["topic"], row["kafka_partition"], row["kafka_offset"]


def _words(place: Place) -> str:
    return f"{place[0]}/{place[1]}@{place[2]}"


def _stored_places(history: History, offsets: set[int]) -> set[Place]:
    """Coordinates of the rows at these offsets."""
    places: set[Place] = set()
    looked_for = pa.array(sorted(offsets), pa.int64())
    for observation in history.of_stage("stored"):
        chosen = pc.is_in(observation.table["kafka_offset"].cast(pa.int64()), value_set=looked_for)
        table = observation.table.select(["topic", "kafka_partition", "kafka_offset"]).filter(chosen)
        columns = (column.to_pylist() for column in table.columns)
        places.update(zip(*columns, strict=True))
    return places


def _places(kind: str, detail: str, places: set[Place]) -> Iterator[Finding]:
    if places:
        yield Finding(kind, detail, len(places), tuple(_words(place) for place in sorted(places)))


def _altered(poison: Mapping[Place, Mapping[str, Any]], letters: list[dict[str, Any]]) -> Iterator[Finding]:
    altered = {
        _place(letter)
        for letter in letters
        if _place(letter) in poison and letter["sha256"] != poison[_place(letter)]["sha256"]
    }
    yield from _places("altered_bytes", "a dead letter does not hold the bytes that were sent", altered)


def _headers(history: History, letters: list[dict[str, Any]]) -> Iterator[Finding]:
    parameters = history.header.parameters
    required = parameters.get("required_headers", _HEADERS)
    coordinates = parameters.get("coordinate_headers", _COORDINATE_HEADERS)
    absent: list[str] = []
    wrong: list[str] = []
    for letter in letters:
        headers = dict(letter["headers"] or ())
        where = _words(_place(letter))
        absent.extend(f"{where}: {name}" for name in required if not headers.get(name))
        wrong.extend(
            f"{where}: {name} is {headers[name]}"
            for name, value in zip(coordinates, _place(letter), strict=True)
            if headers.get(name) and headers[name] != str(value)
        )
    if absent:
        yield Finding("missing_header", "a dead letter lacks a header", len(absent), tuple(absent))
    if wrong:
        detail = "a header does not repeat the source coordinates"
        yield Finding("wrong_header", detail, len(wrong), tuple(wrong))


def _lost_headers(poison: Mapping[Place, Mapping[str, Any]], letters: list[dict[str, Any]]) -> Iterator[Finding]:
    lost: list[str] = []
    for letter in letters:
        sent = poison.get(_place(letter), {}).get("headers") or ()
        kept = set(letter["headers"] or ())
        lost.extend(f"{_words(_place(letter))}: {name}" for name, value in sent if (name, value) not in kept)
    if lost:
        detail = "a header the message was sent with is not in its dead letter as it was"
        yield Finding("lost_header", detail, len(lost), tuple(lost))


def _neighbours(history: History) -> Iterator[Finding]:
    """Good records that are lost. A dead letter of theirs explains nothing: they are good."""
    journey = load_journey(history, ("fed", "stored"))
    for finding in find_lost(journey, settle(history, journey)):
        if finding.outcome is Outcome.UNKNOWN:
            yield finding
        else:
            yield Finding("neighbour_lost", "a good record is not in the table", finding.count, finding.examples)


def _coverage(history: History, poison: Mapping[Place, Mapping[str, Any]]) -> Iterator[Finding]:
    required = set(history.header.parameters.get("required_kinds", ()))
    untried = sorted(required - {row["kind"] for row in poison.values()})
    if untried:
        yield doubt("kind_untried", "kinds of poison were not sent", len(untried), tuple(untried))
