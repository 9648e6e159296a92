"""Every message has one fate, the one of its kind: a row, a flagged row, a dead letter, or a known duplicate.

Verified:
- unaccounted: a message that must be a row or a dead letter is neither.
- two_fates: a message is a row and a dead letter.
- wrong_fate: a row that must not be one, or a dead letter that must not be one.
- wrong_reason: a dead letter has the stage and error class of its kind.
- wrong_flags: a row has exactly the flags of its kind.
- unknown_origin: no row and no dead letter comes from a message that was not sent.
- sum_differs: in each topic's table, rows, dead letters and duplicates add up to the messages polled.
- count_differs: dead letters of each reason, rows of each flag, and duplicates, as they were exported, are those found.

Not verified:
- the values of rows (see `provenance`) and the bytes of dead letters (see `dead_letters`).
- that each batch for itself adds up: the sums are over the run.

Reads the stages
    sent          topic, kafka_partition, kafka_offset, kind, fate (row, dead_letter or duplicate), reason (stage/error
                  class of a dead letter), flags (of a row, by name, sorted, with commas between)
    stored        topic, kafka_partition, kafka_offset, quality_flags
    dead_letters  topic, kafka_partition, kafka_offset (of the source), reason
the operation `counted` for each data type (attributes data_type, received, duplicates, rejected by reason, flagged by
flag), and the parameters flag_bits (bit of each flag) and required_kinds.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

ROW, DEAD_LETTER, DUPLICATE = "row", "dead_letter", "duplicate"
Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    """What was sent, and what became of it, by place."""

    sent: Mapping[Place, Mapping[str, Any]]
    flags: Mapping[Place, str]
    reasons: Mapping[Place, str]


def check(history: History) -> Verdict:
    """The verdict on a history of messages; samples are the messages."""
    missing = [stage for stage in ("sent", "stored", "dead_letters") if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    found = _load(history)
    findings = [*_fates(found), *_origins(found), *_sums(history, found), *_coverage(history, found)]
    return conclude(len(found.sent), findings, f"{len(found.sent)} messages have the fate of their kind, and add up")


def _load(history: History) -> _Found:
    bits: Mapping[str, int] = history.header.parameters["flag_bits"]
    return _Found(
        {_place(row): row for row in history.rows("sent")},
        {_place(row): _flag_names(row["quality_flags"], bits) for row in history.rows("stored")},
        {_place(row): row["reason"] for row in history.rows("dead_letters")},
    )


def _place(row: Mapping[str, Any]) -> Place:
    return row["topic"], row["kafka_partition"], row["kafka_offset"]


def _flag_names(value: int, bits: Mapping[str, int]) -> str:
    unnamed = value & ~sum(bits.values())
    names = [name for name, bit in bits.items() if value & bit] + ([str(unnamed)] if unnamed else [])
    return ",".join(sorted(names))


def _fates(found: _Found) -> Iterator[Finding]:
    wrong: dict[str, list[str]] = {}
    for place, message in found.sent.items():
        for kind, example in _wrong(place, message, found):
            wrong.setdefault(kind, []).append(f"{message['kind']} at {_words(place)}{example}")
    details = {
        "unaccounted": "a message is neither row nor dead letter",
        "two_fates": "a message is both row and dead letter",
        "wrong_fate": "a message became what its kind must not become",
        "wrong_reason": "a dead letter has the reason of another kind",
        "wrong_flags": "a row has not the flags of its kind",
    }
    for kind, examples in wrong.items():
        yield Finding(kind, details[kind], len(examples), tuple(examples))


def _wrong(place: Place, message: Mapping[str, Any], found: _Found) -> Iterator[tuple[str, str]]:
    is_row, is_letter = place in found.flags, place in found.reasons
    if is_row and is_letter:
        yield "two_fates", ""
    elif not is_row and not is_letter:
        if message["fate"] != DUPLICATE:
            yield "unaccounted", ""
    elif message["fate"] != (ROW if is_row else DEAD_LETTER):
        yield "wrong_fate", f" is a {ROW if is_row else DEAD_LETTER}, must be a {message['fate']}"
    elif is_letter and found.reasons[place] != message["reason"]:
        yield "wrong_reason", f": {found.reasons[place]}, must be {message['reason']}"
    elif is_row and found.flags[place] != message["flags"]:
        yield "wrong_flags", f": {found.flags[place] or 'none'}, must be {message['flags'] or 'none'}"


def _origins(found: _Found) -> Iterator[Finding]:
    strangers = sorted((found.flags.keys() | found.reasons.keys()) - found.sent.keys())
    if strangers:
        detail = "a row or a dead letter comes from a message nobody sent"
        yield Finding("unknown_origin", detail, len(strangers), tuple(map(_words, strangers)))


def _sums(history: History, found: _Found) -> Iterator[Finding]:
    data_types = {place[0].rsplit(".", 1)[-1] for place in found.sent}
    counted = {operation.attributes["data_type"]: operation.attributes for operation in history.of_action("counted")}
    for data_type in sorted(data_types - counted.keys()):
        yield doubt("not_counted", f"what the consumer of {data_type} counted was not looked at")
    for data_type in sorted(data_types & counted.keys()):
        numbers = counted[data_type]
        flags = [names for place, names in found.flags.items() if _is_of(place, data_type)]
        reasons = [reason for place, reason in found.reasons.items() if _is_of(place, data_type)]
        total = len(flags) + len(reasons) + numbers["duplicates"]
        if not total == numbers["received"] == sum(_is_of(place, data_type) for place in found.sent):
            yield Finding(
                "sum_differs",
                f"{data_type}: {len(flags)} rows, {len(reasons)} dead letters and {numbers['duplicates']} duplicates "
                f"are not the {numbers['received']} messages polled",
            )
        yield from _differing(data_type, "dead letters", Counter(reasons), numbers["rejected"])
        by_flag = Counter(name for names in flags if names for name in names.split(","))
        yield from _differing(data_type, "flagged rows", by_flag, numbers["flagged"])


def _differing(data_type: str, what: str, seen: Mapping[str, int], exported: Mapping[str, int]) -> Iterator[Finding]:
    for name in sorted({*seen, *exported}):
        if seen.get(name, 0) != exported.get(name, 0):
            detail = (
                f"{data_type}: {exported.get(name, 0)} {what} of {name} are exported, there are {seen.get(name, 0)}"
            )
            yield Finding("count_differs", detail)


def _coverage(history: History, found: _Found) -> Iterator[Finding]:
    required = set(history.header.parameters.get("required_kinds", ()))
    untried = sorted(required - {message["kind"] for message in found.sent.values()})
    if untried:
        yield doubt("kind_untried", "kinds of message were not sent", len(untried), tuple(untried))


def _is_of(place: Place, data_type: str) -> bool:
    return place[0].rsplit(".", 1)[-1] == data_type


def _words(place: Place) -> str:
    return f"{place[0]}/{place[1]}@{place[2]}"
