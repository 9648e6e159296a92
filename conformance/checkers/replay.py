"""A replay of dead letters: what can be decoded now is in the table once, and what cannot is a dead letter again.

Verified:
- not_restored, restored_twice, restored_altered: every record whose cause is gone is one row with the record's values.
- restored_elsewhere: that row names the coordinates of a message that a replay sent for its letter.
- came_back: no replayed message of such a record is a dead letter.
- not_returned: every replayed message whose cause remains is a dead letter again.
- poison_stored: no such message is a row.
- not_sent, sent_twice: every letter went back, and each once; `may_repeat_messages` lets a replay that was killed on a
  broker without isolation send some again.
- sent_altered: it went back to its own partition with its bytes and its headers.
- sent_unasked: nothing went back that is no dead letter.
- wrong_count, replay_failed: a replay says that it sent as many letters as there were to send, and ends well.
- neighbour_lost, neighbour_twice: every other acknowledged record is one row.
- that the curable records were dead letters before, and that planned kills ended their replays; otherwise unknown.

Not verified:
- the order of the rows, and how the sequence trackers judged them.
- error class and stage of a letter (see `facts` of the listing).

Reads the stages
    curable       as `fed`, with sha256 (of the message) and headers (as sent): records whose cause goes away
    poison        topic, kafka_partition, kafka_offset, sha256, headers: messages whose cause remains; may be empty
    fed, stored   the neighbours, and the table at the end
    replayed      messages of the source topics that name the letter they repeat: topic, kafka_partition, kafka_offset,
                  replay_of ("topic/partition/offset"), sha256, headers
    dead_letters  topic, kafka_partition, kafka_offset (of the source): all letters at the end
the operations replay (attributes exit_code, sent, must_send; null: not stated) and kill (exit_signal), and the
parameters may_repeat_messages (default: no) and expected_kills (a number).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

Row = Mapping[str, Any]
Place = tuple[str, int, int]
Identity = tuple[str, str, str, int]
_STAGES = ("curable", "poison", "fed", "stored", "replayed", "dead_letters")
_VALUES = (
    *("event_time_ns", "receive_time_ns", "source_sequence", "trade_id", "price", "quantity", "side", "venue"),
    "conditions",
)
_SIGKILL = 9


@dataclass(frozen=True, slots=True)
class _Run:
    """What was sent, what a replay sent again, and what became of both.

    Attributes:
        curable, poison: messages by their coordinates.
        replayed: replayed messages by their coordinates.
        letters: the sources of all dead letters.
        rows: the rows of each record.
    """

    curable: Mapping[Place, Row]
    poison: Mapping[Place, Row]
    replayed: Mapping[Place, Row]
    letters: frozenset[Place]
    rows: Mapping[Identity, Sequence[Row]]

    def sent(self, place: Place) -> Row | None:
        """The message a replay has sent back, or was sent first, at these coordinates."""
        return self.curable.get(place) or self.poison.get(place) or self.replayed.get(place)

    def first(self, place: Place) -> Place:
        """The coordinates of the message that a chain of replays began with."""
        seen = {place}
        while place in self.replayed and (source := _source(self.replayed[place])) not in seen:
            place = source
            seen.add(place)
        return place


def check(history: History) -> Verdict:
    """The verdict on a history of replays; samples are the records whose cause is gone."""
    missing = [stage for stage in _STAGES if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    rows = defaultdict(list)
    for row in history.rows("stored"):
        rows[_identity(row)].append(row)
    run = _Run(
        curable={_place(row): row for row in history.rows("curable")},
        poison={_place(row): row for row in history.rows("poison")},
        replayed={_place(row): row for row in history.rows("replayed")},
        letters=frozenset(_place(row) for row in history.rows("dead_letters")),
        rows=rows,
    )
    findings = [
        *_restored(run),
        *_returned(run),
        *_sent(run, bool(history.header.parameters.get("may_repeat_messages"))),
        *_counts(history),
        *_neighbours(history, run),
        *_doubts(history, run),
    ]
    passed = f"{len(run.curable)} records restored once, {len(run.poison)} messages dead letters again"
    return conclude(len(run.curable), findings, passed)


def _restored(run: _Run) -> Iterator[Finding]:
    sent_for = defaultdict(set)
    for place in run.replayed:
        sent_for[run.first(place)].add(place)
    rows = {place: run.rows.get(_identity(record), ()) for place, record in run.curable.items()}
    absent = [place for place, found in rows.items() if not found]
    yield from _found("not_restored", "a record whose cause is gone is no row", absent)
    twice = [place for place, found in rows.items() if len(found) > 1]
    yield from _found("restored_twice", "a record whose cause is gone is several rows", twice)
    altered = [
        place for place, found in rows.items() if any(_values(row) != _values(run.curable[place]) for row in found)
    ]
    yield from _found("restored_altered", "a restored row does not hold the record's values", altered)
    elsewhere = [place for place, found in rows.items() if any(_place(row) not in sent_for[place] for row in found)]
    yield from _found("restored_elsewhere", "a restored row does not come from a replay of its letter", elsewhere)


def _returned(run: _Run) -> Iterator[Finding]:
    cured = [place for place in run.replayed if run.first(place) in run.curable]
    remaining = [place for place in run.replayed if run.first(place) in run.poison]
    came_back = [place for place in cured if place in run.letters]
    yield from _found("came_back", "a message whose cause is gone is a dead letter again", came_back)
    vanished = [place for place in remaining if place not in run.letters]
    yield from _found("not_returned", "a message whose cause remains is no dead letter after its replay", vanished)
    stored = {_place(row) for rows in run.rows.values() for row in rows}
    rows = [place for place in (*run.poison, *remaining) if place in stored]
    yield from _found("poison_stored", "a message whose cause remains is a row", rows)


def _sent(run: _Run, may_repeat: bool) -> Iterator[Finding]:
    times = Counter(_source(message) for message in run.replayed.values())
    unsent = [place for place in (*run.curable, *run.poison) if not times[place]]
    yield from _found("not_sent", "a dead letter did not go back", unsent)
    twice = [] if may_repeat else [place for place, count in times.items() if count > 1]
    yield from _found("sent_twice", "a dead letter went back more than once", twice)
    letters = {*run.curable, *run.poison}
    unasked = [place for place in run.replayed if run.first(place) not in letters]
    yield from _found("sent_unasked", "a message repeats what was no dead letter", unasked)
    altered = [place for place, message in run.replayed.items() if _is_altered(run, message)]
    yield from _found("sent_altered", "a letter went back otherwise than it came", altered)


def _is_altered(run: _Run, message: Row) -> bool:
    """Whether it differs from the message that its letter came from; what is unknown is found elsewhere."""
    before = run.sent(_source(message))
    if before is None:
        return False
    first = run.sent(run.first(_place(message))) or before
    kept = Counter(_pairs(message["headers"]))
    return (
        message["sha256"] != before["sha256"]
        or _place(message)[:2] != _place(before)[:2]
        or bool(Counter(_pairs(first["headers"])) - kept)
    )


def _counts(history: History) -> Iterator[Finding]:
    replays = [operation.attributes for operation in history.of_action("replay") if operation.outcome == "ok"]
    wrong = [
        f"sent {one['sent']}, had {one['must_send']} to send"
        for one in replays
        if one["must_send"] is not None and one["sent"] != one["must_send"]
    ]
    if wrong:
        yield Finding("wrong_count", "a replay did not send what there was to send", len(wrong), tuple(wrong))
    failed = [f"exit code {one['exit_code']}" for one in replays if one["exit_code"] != 0]
    if failed:
        yield Finding("replay_failed", "a replay ended with an error", len(failed), tuple(failed))
    if not replays:
        yield doubt("never_replayed", "no replay ended by itself")


def _neighbours(history: History, run: _Run) -> Iterator[Finding]:
    acknowledged = [row for row in history.rows("fed") if row["outcome"] == "ok"]
    rows = {_place(row): len(run.rows.get(_identity(row), ())) for row in acknowledged}
    lost = [place for place, count in rows.items() if count == 0]
    yield from _found("neighbour_lost", "another record is no row", lost)
    twice = [place for place, count in rows.items() if count > 1]
    yield from _found("neighbour_twice", "another record is several rows", twice)


def _doubts(history: History, run: _Run) -> Iterator[Finding]:
    unbitten = [_words(place) for place in (*run.curable, *run.poison) if place not in run.letters]
    if unbitten:
        detail = "a message was never a dead letter, so nothing was there to be replayed"
        yield doubt("never_a_dead_letter", detail, len(unbitten), tuple(unbitten))
    expected = int(history.header.parameters.get("expected_kills", 0))
    bitten = sum(one.attributes.get("exit_signal") == _SIGKILL for one in history.of_action("kill"))
    if bitten < expected:
        yield doubt("fault_did_not_bite", "a planned kill did not end its replay", expected - bitten)


def _found(kind: str, detail: str, places: Sequence[Place]) -> Iterator[Finding]:
    if places:
        yield Finding(kind, detail, len(places), tuple(_words(place) for place in places))


def _place(row: Row) -> Place:
    return row["topic"], row["kafka_partition"], row["kafka_offset"]


def _source(message: Row) -> Place:
    topic, partition, offset = str(message["replay_of"]).rsplit("/", 2)
    return topic, int(partition), int(offset)


def _identity(row: Row) -> Identity:
    return row["session"], row["exchange"], row["symbol"], row["session_sequence"]


def _values(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _VALUES)


def _pairs(headers: Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers or ()]


def _words(place: Place) -> str:
    return f"{place[0]}/{place[1]}/{place[2]}"
