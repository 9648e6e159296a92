"""A feed that wrote down every fault it planted: what the platform reports is that, no more and no less.

Verified:
- missing_row, unexpected_row, repeated_row: of each key there is one row for each record that was sent, but for planted
  duplicates and for bad records that must be refused.
- wrong_event: each row's event is the planted one: GAP, OUT_OF_ORDER and SESSION_RESET where one was planted, IN_ORDER
  otherwise, none for keys and bad records without source numbers.
- wrong_gaps: the open ranges are those that were planted since the last reset of their key.
- wrong_rejects: the dead letters are the planted bad records, each under the error class of its defect.
- not_flagged: bad records that are kept carry their flag, and no other row does.
- wrong_counters: duplicates and gaps that the platform counted are as many as were planted.
- that the truth is complete and holds every required kind of fault; otherwise unknown.

Not verified:
- values (see `provenance`); whether the truth is that of the feed (the feed's own tests); the order of the rows.

Reads the stages
    keys          data_type, exchange, symbol, session, records, is_numbered: what was sent
    planted       kind (gap, duplicate, reordering, reset, bad_record), data_type, exchange, symbol, session,
                  session_sequence, overtaken_at, first_missing, last_missing, numbering, defect
    stored        (by data type) exchange, symbol, session, session_sequence, sequence_event, quality_flags
    gaps          data_type, exchange, symbol, first_missing, last_missing: open at the end, of source numbers
    dead_letters  data_type, session, exchange, symbol, session_sequence, error_class
    counters      data_type, duplicates, gaps: compared if observed
the operation truth_read (attribute complete), and the parameters reject_classes (defect and data type, as
"negative_price/trades" -> error class), flags (defect -> bit of quality_flags) and required_kinds (kinds, and defects).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

Row = Mapping[str, Any]
Key = tuple[str, str, str, str]
Place = tuple[str, str, str, str, int]
_STAGES = ("keys", "planted", "stored", "gaps", "dead_letters")


@dataclass(slots=True)
class _Plan:
    """What must be found.

    Attributes:
        events: of each record that must be a row, by its place.
        absent: places of planted duplicates and of bad records that must be refused.
        classes: error class of each dead letter.
        flagged: bits that rows must carry.
        open_ranges: data type, exchange, symbol, first and last missing number.
        counts: duplicates and gap events, by data type.
    """

    events: dict[Place, str | None] = field(default_factory=dict)
    absent: set[Place] = field(default_factory=set)
    classes: dict[Place, str] = field(default_factory=dict)
    flagged: dict[Place, int] = field(default_factory=dict)
    open_ranges: Counter[tuple[str, str, str, int, int]] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def check(history: History) -> Verdict:
    """The verdict on a feed with planted faults; samples are the faults."""
    missing = [stage for stage in _STAGES if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    planted = history.rows("planted")
    plan = _plan(history, planted)
    findings = [*_untried(history, planted), *_rows(history, plan), *_gaps(history, plan), *_rejects(history, plan)]
    findings += _counters(history, plan)
    passed = f"{len(planted)} planted faults among {len(plan.events)} rows, each reported as what it is"
    return conclude(len(planted), findings, passed)


def _plan(history: History, planted: Iterable[Row]) -> _Plan:
    plan = _Plan()
    for key in history.rows("keys"):
        event = "IN_ORDER" if key["is_numbered"] else None
        plan.events |= {(*_key(key), number): event for number in range(1, key["records"] + 1)}
    numbering = Counter(_key(fault) for fault in planted if fault["kind"] == "reset")
    for fault in planted:
        _plan_fault(history.header.parameters, plan, fault, last_numbering=1 + numbering[_key(fault)])
    for place in plan.absent:
        plan.events.pop(place, None)
    return plan


def _plan_fault(parameters: Mapping[str, Any], plan: _Plan, fault: Row, last_numbering: int) -> None:
    place, counts = _place(fault), plan.counts[fault["data_type"]]
    match fault["kind"]:
        case "gap":
            plan.events[place] = "GAP"
            counts["gaps"] += 1
            if fault["numbering"] == last_numbering:
                plan.open_ranges[(*_key(fault)[:3], fault["first_missing"], fault["last_missing"])] += 1
        case "duplicate":
            plan.absent.add(place)
            counts["duplicates"] += 1
        case "reordering":
            plan.events[place] = "OUT_OF_ORDER"
            plan.events[(*_key(fault), fault["overtaken_at"])] = "GAP"
            counts["gaps"] += 1
        case "reset":
            plan.events[place] = "SESSION_RESET"
        case "bad_record":
            plan.events[place] = None
            if fault["defect"] in parameters.get("flags", {}):
                plan.flagged[place] = parameters["flags"][fault["defect"]]
            else:
                plan.absent.add(place)
                plan.classes[place] = parameters["reject_classes"][f"{fault['defect']}/{fault['data_type']}"]


def _untried(history: History, planted: Iterable[Row]) -> Iterator[Finding]:
    if not any(operation.attributes.get("complete") for operation in history.of_action("truth_read")):
        yield doubt("incomplete_truth", "the truth has no end: the feed did not finish")
    tried = {fault["kind"] for fault in planted} | {fault["defect"] for fault in planted}
    untried = sorted(set(history.header.parameters.get("required_kinds", ())) - tried)
    if untried:
        yield doubt("kind_untried", "kinds of faults were not planted", len(untried), tuple(untried))


def _rows(history: History, plan: _Plan) -> Iterator[Finding]:
    rows = history.rows("stored")
    found = Counter(_place(row) for row in rows)
    wrong, unflagged = [], []
    flags = 0
    for bit in history.header.parameters.get("flags", {}).values():
        flags |= bit
    for row in rows:
        place = _place(row)
        if place in plan.events and row["sequence_event"] != plan.events[place]:
            wrong.append(f"{_words(place)}: {row['sequence_event']}, planted was {plan.events[place]}")
        if row["quality_flags"] & flags != plan.flagged.get(place, 0):
            unflagged.append(f"{_words(place)}: {row['quality_flags']}")
    yield from _found("missing_row", "a record that was sent is no row", map(_words, plan.events.keys() - found.keys()))
    unexpected = found.keys() - plan.events.keys()
    yield from _found("unexpected_row", "a duplicate or a refused record is a row", map(_words, unexpected))
    repeated = [place for place, count in found.items() if count > 1]
    yield from _found("repeated_row", "a record is several rows", map(_words, repeated))
    yield from _found("wrong_event", "the event is not the planted one", wrong)
    yield from _found("not_flagged", "a flag is not that of what was planted", unflagged)


def _gaps(history: History, plan: _Plan) -> Iterator[Finding]:
    reported = Counter((*_key(row)[:3], row["first_missing"], row["last_missing"]) for row in history.rows("gaps"))
    surplus, absent = reported - plan.open_ranges, plan.open_ranges - reported
    examples = [f"{gap}: reported, and not open" for gap in surplus] + [
        f"{gap}: open, and not reported" for gap in absent
    ]
    yield from _found("wrong_gaps", "the open ranges are not those that were planted", examples)


def _rejects(history: History, plan: _Plan) -> Iterator[Finding]:
    # At least once each: a consumer that died after writing a dead letter writes it again.
    letters = {(_place(row), row["error_class"]) for row in history.rows("dead_letters")}
    expected = set(plan.classes.items())
    examples = [f"{_words(place)}: {name}, and not planted so" for place, name in letters - expected]
    examples += [f"{_words(place)}: {name} was planted, and is no dead letter" for place, name in expected - letters]
    yield from _found("wrong_rejects", "the dead letters are not the planted bad records", examples)


def _counters(history: History, plan: _Plan) -> Iterator[Finding]:
    wrong = [
        f"{row['data_type']}: {name} is {row[name]:g}, planted were {plan.counts[row['data_type']][name]}"
        for row in history.rows("counters")
        for name in ("duplicates", "gaps")
        if row[name] != plan.counts[row["data_type"]][name]
    ]
    yield from _found("wrong_counters", "a counter is not what was planted", wrong)


def _key(row: Row) -> Key:
    return row["data_type"], row["exchange"], row["symbol"], row.get("session") or ""


def _place(row: Row) -> Place:
    return (*_key(row), row["session_sequence"])


def _words(place: Place) -> str:
    data_type, exchange, symbol, session, number = place
    return f"{data_type} {exchange}:{symbol} {session} record {number}"


def _found(kind: str, detail: str, examples: Iterable[str]) -> Iterator[Finding]:
    listed = sorted(examples)
    if listed:
        yield Finding(kind, detail, len(listed), tuple(listed))
