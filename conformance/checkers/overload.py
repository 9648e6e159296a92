"""More than the platform can take: it stays within its memory, books what it sheds, and is nominal again by itself.

Verified:
- memory_unbounded: no process ever held more than the limit on top of what it held before the overload.
- shed_not_counted: for each reason, as many records are listed as shed as statistics and metric count.
- shed_without_reason: what was not acknowledged bears a reason.
- nothing_shed: records were shed, where the overload is one that the queue cannot bear (parameter sheds).
- level_did_not_rise: the level rose above NOMINAL during the overload, where it must (parameter level_rises).
- not_nominal_again: the level was NOMINAL within the limit after the overload, and stayed so.
- books_do_not_balance: records given are those acknowledged plus those shed.
- that it was an overload: it lasted as long as stated, some records were taken in, three times as many were given, and
  it was watched throughout; otherwise the verdict is unknown.

Not verified:
- that no acknowledged record is lost (see `delivery`, on the same run).
- what a process would hold after a longer overload.

Reads the operations
    overload  rate, given, taken, seconds; its completion is the end of the overload
    sample    level, taken, lag
    memory    process, before_bytes, peak_bytes
    books     given, acknowledged, errors_by_reason, errors_by_metric
the stage shed (reason, one row a record), and the parameters memory_limit_bytes, nominal_within_seconds, sheds,
level_rises, shortest_seconds.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History, Operation

LEAST_RATIO = 3.0
_NOMINAL = "NOMINAL"
_MIB = 1 << 20


def check(history: History) -> Verdict:
    """The verdict on a history of an overload; samples are the records given during it."""
    overloads = history.of_action("overload")
    if len(overloads) != 1 or not history.of_action("books"):
        return unknown("missing_operation", f"{len(overloads)} overloads were recorded, one is needed, and its books")
    overload, parameters = overloads[0], history.header.parameters
    books = history.of_action("books")[0].attributes
    samples = history.of_action("sample")
    findings = [
        *_memory(history, int(parameters["memory_limit_bytes"])),
        *_books(history, books, bool(parameters["sheds"])),
        *_levels(samples, overload, parameters),
        *_was_an_overload(overload.attributes, samples, bool(parameters["sheds"]), parameters),
    ]
    return conclude(int(overload.attributes["given"]), findings, _summary(history, overload, books))


def _memory(history: History, limit_bytes: int) -> Iterator[Finding]:
    measured = [operation.attributes for operation in history.of_action("memory")]
    if not measured:
        yield doubt("missing_operation", "no process's memory was measured")
    for one in measured:
        grown = one["peak_bytes"] - one["before_bytes"]
        if grown > limit_bytes:
            yield Finding(
                "memory_unbounded",
                f"{one['process']} held {grown // _MIB} MiB more than before, {limit_bytes // _MIB} MiB are allowed",
            )


def _books(history: History, books: Mapping[str, Any], must_shed: bool) -> Iterator[Finding]:
    listed = Counter(row["reason"] for row in history.rows("shed"))
    nameless = listed.pop("", 0) + listed.pop(None, 0)
    if nameless:
        yield Finding("shed_without_reason", "records ended unacknowledged without a reason", nameless)
    for reason in sorted({*listed, *books["errors_by_reason"], *books["errors_by_metric"]}):
        said = {
            "listed": listed[reason],
            "counted": books["errors_by_reason"].get(reason, 0),
            "exported": books["errors_by_metric"].get(reason, 0),
        }
        if len(set(said.values())) > 1:
            yield Finding("shed_not_counted", f"{reason}: {said}")
    shed = listed.total()
    if books["given"] != books["acknowledged"] + shed:
        yield Finding(
            "books_do_not_balance", f"{books['given']} given, {books['acknowledged']} acknowledged, {shed} shed"
        )
    if must_shed and not shed:
        yield Finding("nothing_shed", "the queue was full and nothing was shed")


def _levels(samples: Sequence[Operation], overload: Operation, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    during = [one for one in samples if one.completed_monotonic_ns <= overload.completed_monotonic_ns]
    after = [one for one in samples if one.invoked_monotonic_ns > overload.completed_monotonic_ns]
    within_seconds = float(parameters["nominal_within_seconds"])
    if parameters["level_rises"] and all(one.attributes["level"] == _NOMINAL for one in during):
        yield Finding("level_did_not_rise", f"the level stayed {_NOMINAL} in {len(during)} looks")
    late = [one for one in after if _seconds_after(one, overload) > within_seconds]
    if not late:
        yield doubt("not_watched", f"nobody looked {within_seconds:g} s after the overload")
    troubled = [one for one in late if one.attributes["level"] != _NOMINAL]
    if troubled:
        worst = troubled[0]
        yield Finding(
            "not_nominal_again",
            f"the level was {worst.attributes['level']} {_seconds_after(worst, overload):.1f} s after the overload, "
            f"lag {worst.attributes['lag']}",
            len(troubled),
        )


def _was_an_overload(
    attributes: Mapping[str, Any], samples: Sequence[Operation], sheds: bool, parameters: Mapping[str, Any]
) -> Iterator[Finding]:
    if attributes["seconds"] < float(parameters["shortest_seconds"]):
        yield doubt("no_overload", f"it lasted {attributes['seconds']:.1f} s")
    if not attributes["taken"]:
        yield doubt("no_overload", "nothing was taken in: that is an outage")
    if attributes["given"] < LEAST_RATIO * attributes["taken"]:
        where = "the broker took" if sheds else "the sink took in"
        yield doubt("no_overload", f"{attributes['given']} records were given and {where} {attributes['taken']}")
    if len(samples) < attributes["seconds"]:
        yield doubt("not_watched", f"{len(samples)} looks in {attributes['seconds']:.0f} s")


def _seconds_after(sample: Operation, overload: Operation) -> float:
    return (sample.invoked_monotonic_ns - overload.completed_monotonic_ns) / 1e9


def _summary(history: History, overload: Operation, books: Mapping[str, Any]) -> str:
    one = overload.attributes
    grown = {
        each["process"]: round((each["peak_bytes"] - each["before_bytes"]) / _MIB)
        for each in (operation.attributes for operation in history.of_action("memory"))
    }
    levels = list(dict.fromkeys(sample.attributes["level"] for sample in history.of_action("sample")))
    troubled = [
        _seconds_after(sample, overload)
        for sample in history.of_action("sample")
        if sample.attributes["level"] != _NOMINAL
    ]
    memory = ", ".join(f"{name} +{mebibytes} MiB" for name, mebibytes in grown.items())
    nominal = max(0.0, max(troubled, default=0.0))
    seconds = max(one["seconds"], 0.001)
    return (
        f"{one['given'] / seconds:.0f}/s given and {one['taken'] / seconds:.0f}/s taken in for {seconds:.0f} s; "
        f"{memory}; shed {books['given'] - books['acknowledged']}; levels {', '.join(levels)}; "
        f"NOMINAL after {nominal:.1f} s"
    )
