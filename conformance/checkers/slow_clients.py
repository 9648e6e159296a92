"""Clients that take their time: each is given up in time, and the others hardly notice.

Verified:
- outlived: the server ended every slow client's connection within the limit.
- slower: among slow clients a good one's answers take, at the 99th percentile, at most twice as long as without them.
- refused: every request of the good client was answered 200.
- that there were as many slow clients of each kind as planned, that those who send or read did so, that they were there
  while the good client was measured, and that it was measured often enough; otherwise the verdict is unknown.

Not verified:
- how long the server kept what it had of a client after closing the connection.
- that a slow client was told why (see the clauses on errors).

Reads the operations
    slow_client  kind, lived_seconds (null: to the end), pieces (sent or read; of a kind that only waits, 0)
    good_client  moment (alone | among), milliseconds (of each request, in order), statuses (the distinct ones),
                 open_connections (slow ones that were there; among only)
and the parameters limit_seconds, clients {kind: count}, waiting_kinds, minimum_requests (of each moment).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_RATIO = 2.0
_OK = 200


def check(history: History) -> Verdict:
    """The verdict on a history of slow clients; samples are the slow clients."""
    slow = [operation.attributes for operation in history.of_action("slow_client")]
    good = [operation.attributes for operation in history.of_action("good_client")]
    parameters = history.header.parameters
    alone, among = (percentile_99(_milliseconds(good, moment)) for moment in ("alone", "among"))
    findings = [
        *_outlived(slow, float(parameters["limit_seconds"])),
        *_slower(alone, among),
        *_refused(good),
        *_gaps_in_evidence(slow, good, parameters),
    ]
    lives = [client["lived_seconds"] for client in slow if client["lived_seconds"] is not None]
    longest = f"{max(lives):.1f}" if lives else "?"
    shown = "?" if alone is None or among is None else f"{among:.1f} ms, {alone:.1f} ms without them"
    passed = f"{len(slow)} slow clients lived {longest} s at most; a good one's 99th percentile was {shown}"
    return conclude(len(slow), findings, passed)


def percentile_99(milliseconds: Sequence[float]) -> float | None:
    """The value that at most one in a hundred exceeds; None of nothing."""
    ordered = sorted(milliseconds)
    return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else None


def _milliseconds(good: Sequence[Mapping[str, Any]], moment: str) -> list[float]:
    return [value for one in good if one["moment"] == moment for value in one["milliseconds"]]


def _outlived(slow: Sequence[Mapping[str, Any]], limit_seconds: float) -> Iterator[Finding]:
    late = [
        f"{client['kind']}: {'to the end' if client['lived_seconds'] is None else client['lived_seconds']}"
        for client in slow
        if client["lived_seconds"] is None or client["lived_seconds"] > limit_seconds
    ]
    if late:
        yield Finding("outlived", f"connections lived longer than {limit_seconds:g} s", len(late), tuple(late))


def _slower(alone: float | None, among: float | None) -> Iterator[Finding]:
    if alone is not None and among is not None and among > _RATIO * alone:
        yield Finding("slower", f"the 99th percentile was {among:.1f} ms among slow clients, {alone:.1f} ms without")


def _refused(good: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    other = sorted({status for one in good for status in one["statuses"]} - {_OK})
    if other:
        yield Finding("refused", f"a good client was answered {', '.join(map(str, other))}")


def _gaps_in_evidence(
    slow: Sequence[Mapping[str, Any]], good: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> Iterator[Finding]:
    planned, found = Counter(parameters["clients"]), Counter(client["kind"] for client in slow)
    if planned - found:
        yield doubt("clients_missing", f"there were no {dict(planned - found)}")
    waiting = set(parameters["waiting_kinds"])
    inactive = Counter(c["kind"] for c in slow if c["kind"] not in waiting and int(c["pieces"]) < 2)
    if inactive:
        yield doubt("not_slow", f"clients neither sent nor read: {dict(inactive)}")
    due = int(parameters["minimum_requests"])
    for moment in ("alone", "among"):
        count = len(_milliseconds(good, moment))
        if count < due:
            yield doubt("good_client_not_measured", f"{count} of {due} requests were measured {moment}")
    there = min((one.get("open_connections", 0) for one in good if one["moment"] == "among"), default=0)
    if there < sum(planned.values()):
        yield doubt("not_at_once", f"only {there} of {sum(planned.values())} slow clients were there at once")
