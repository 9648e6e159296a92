"""The ruling on sequence numbers, derived again number by number.

Verified:
- wrong_event: each number's event is the one the ruling gives, in the order of arrival of its key.
- wrong_gaps: the open ranges at the end are those the ruling leaves.
- wrong_statistics: totals and counts of each event are those of the ruling.
- differs_from_truth: events and missing ranges are those the generator planned, where it says so.

Not verified:
- the order of arrival itself; whether rows were kept or dropped by their event (see `provenance`).
- time and memory the tracker needs.
- keys that no number arrived for.

Reads the stages
    verdicts    exchange, symbol, number, event: in order of arrival
    gaps        exchange, symbol, first_missing, last_missing: open at the end; compared if observed
    statistics  any of total_messages, in_order, gaps, out_of_order, duplicates, session_resets, too_old,
                lost_in_evicted_ranges: one row for each exchange and symbol, or one for all; compared if observed
    truth       exchange, symbol, number, event: what the generator planned; compared if observed
    truth_gaps  exchange, symbol, first_missing, last_missing: what it left out; compared if observed
A key is exchange and symbol, with session before them in every stage that has the column. The parameter `sequence` may
set reset_highest_number, reset_lowest_distance, duplicate_window and max_open_ranges.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from conformance.checkers.sequence_model import (
    DUPLICATE,
    GAP,
    IN_ORDER,
    OUT_OF_ORDER,
    SESSION_RESET,
    TOO_OLD,
    Ruling,
    SequenceModel,
)
from conformance.checkers.verdict import Finding, Verdict, conclude, unknown
from conformance.history import History

Key = tuple[str, ...]
_EVENT_COUNTS = {
    "in_order": IN_ORDER,
    "gaps": GAP,
    "out_of_order": OUT_OF_ORDER,
    "duplicates": DUPLICATE,
    "session_resets": SESSION_RESET,
    "too_old": TOO_OLD,
}


def check(history: History) -> Verdict:
    """The verdict on a history of sequence rulings; samples are the numbers that arrived."""
    if not history.of_stage("verdicts"):
        return unknown("missing_stage", "stages were not followed: verdicts")
    verdicts = history.rows("verdicts")
    ruling = Ruling.of(history.header.parameters)
    models: dict[Key, SequenceModel] = {}
    wrong = []
    for row in verdicts:
        key = _key(row)
        event = models.setdefault(key, SequenceModel(ruling)).judge(row["number"])
        if event != row["event"]:
            wrong.append(f"{':'.join(key)} {row['number']}: {row['event']}, the ruling says {event}")
    findings = [
        *_found("wrong_event", "the event is not the one the ruling gives", wrong),
        *_wrong_gaps(history, models),
        *_wrong_statistics(history, models),
        *_differs_from_truth(history, verdicts),
    ]
    return conclude(len(verdicts), findings, f"{len(verdicts)} numbers of {len(models)} keys ruled as stated")


def _wrong_gaps(history: History, models: Mapping[Key, SequenceModel]) -> Iterator[Finding]:
    if history.of_stage("gaps"):
        expected = Counter((key, gap) for key, model in models.items() for gap in model.gaps())
        differences = _differences(_ranges(history, "gaps"), expected)
        yield from _found("wrong_gaps", "the open ranges are not those the ruling leaves", differences)


def _wrong_statistics(history: History, models: Mapping[Key, SequenceModel]) -> Iterator[Finding]:
    wrong: list[str] = []
    for row in history.rows("statistics"):
        key = _key(row)
        chosen = [models[key]] if key in models else [] if key else list(models.values())
        counts = {name: sum(model.counts[event] for model in chosen) for name, event in _EVENT_COUNTS.items()}
        expected = {
            **counts,
            "total_messages": sum(counts.values()),
            "lost_in_evicted_ranges": sum(model.lost for model in chosen),
        }
        wrong.extend(
            f"{':'.join(key) or 'all keys'}: {name} is {row[name]}, the ruling says {value}"
            for name, value in expected.items()
            if name in row and row[name] != value
        )
    yield from _found("wrong_statistics", "the statistics are not those of the ruling", wrong)


def _differs_from_truth(history: History, verdicts: list[dict[str, Any]]) -> Iterator[Finding]:
    if history.of_stage("truth"):
        planned, ruled = _by_key(history.rows("truth")), _by_key(verdicts)
        wrong = []
        for key in sorted({*planned, *ruled}):
            plan, fact = planned.get(key, []), ruled.get(key, [])
            if len(plan) != len(fact):
                wrong.append(f"{':'.join(key)}: {len(fact)} numbers were ruled on, {len(plan)} were planned")
            wrong.extend(
                f"{':'.join(key)}: {number} {event}, planned was {planned_number} {planned_event}"
                for (number, event), (planned_number, planned_event) in zip(fact, plan, strict=False)
                if (number, event) != (planned_number, planned_event)
            )
        yield from _found("differs_from_truth", "the events are not those that were planned", wrong)
    if history.of_stage("truth_gaps") and history.of_stage("gaps"):
        differences = _differences(_ranges(history, "gaps"), _ranges(history, "truth_gaps"))
        yield from _found("differs_from_truth", "the open ranges are not those that were left out", differences)


def _ranges(history: History, stage: str) -> Counter[tuple[Key, tuple[int, int]]]:
    return Counter((_key(row), (row["first_missing"], row["last_missing"])) for row in history.rows(stage))


def _differences(
    found: Counter[tuple[Key, tuple[int, int]]], expected: Counter[tuple[Key, tuple[int, int]]]
) -> list[str]:
    surplus = [("reported, and not open", one) for one in (found - expected).elements()]
    absent = [("open, and not reported", one) for one in (expected - found).elements()]
    return [f"{':'.join(key)} {first}..{last}: {what}" for what, (key, (first, last)) in surplus + absent]


def _by_key(rows: list[dict[str, Any]]) -> dict[Key, list[tuple[int, str]]]:
    grouped: dict[Key, list[tuple[int, str]]] = {}
    for row in rows:
        grouped.setdefault(_key(row), []).append((row["number"], row["event"]))
    return grouped


def _key(row: Mapping[str, Any]) -> Key:
    return tuple(row[name] for name in ("session", "exchange", "symbol") if row.get(name) is not None)


def _found(kind: str, detail: str, examples: list[str]) -> Iterator[Finding]:
    if examples:
        yield Finding(kind, detail, len(examples), tuple(examples))
