"""Feeds that fall silent, noticed from outside while the rest of the system goes on.

What is true is taken from the number of rows in the table, read by a client of its own: rows stopped coming between the
look before the last that saw more of them, and that look. Looks have a beginning and an end, and every comparison uses
the bounds that leave the system the most time, so a machine that was busy is no failure.

Verified:
- false_alarm: no silence is reported while rows came within the limit, nor before the first rows.
- unnoticed: a silence longer than the limit and the delay is reported as long as it lasts.
- noticed_late: it is reported no later than that.
- not_cleared: the report ends within the delay once rows come again.
- frozen_gauge: in a silence the exported numbers grow exactly as fast as the clock.
- wrong_silence: the exported silence is as long as the true one.
- that each fault of the plan had its effect on the process, that rows came before it, stopped coming for long enough
  after it, and came again; that each number was seen to be exported. Otherwise the verdict is unknown.

Not verified:
- which process stopped: the report says that rows do not come, not why.
- a feed whose rows never came.

Reads the operations
- look: attributes rows (of the table), reported (whether /health called the exchange stale; null if it did not answer
  200), silence_seconds and age_seconds (of the API's metrics), consumer_age_seconds (of the consumer's; null where it
  could not be asked).
- fault, heal: attributes name, and of a fault effect (what was seen of it on the process; null for nothing).
and the parameters limit_seconds, delay_seconds, control_seconds (rows must have come for so long before each fault) and
required_faults (names).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History, Operation

_NS_PER_SECOND = 1_000_000_000
# Exported numbers are rounded, and wall clocks are corrected a little.
_CLOCK_SECONDS = 0.05
_GAUGES = ("silence_seconds", "age_seconds", "consumer_age_seconds")


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at everything, its times in seconds, and what is true of it.

    Attributes:
        began, ended: when.
        came_after, came_before: the last rows it could see came between these times.
        brought: whether there were more rows than at the look before.
        last: whether the next look saw more rows, or there is none: they may have come while this one was under way.
        values: the operation's attributes.
    """

    began: float
    ended: float
    came_after: float
    came_before: float
    brought: bool
    last: bool
    values: dict[str, Any]

    @property
    def longest_silence(self) -> float:
        return self.ended - self.came_after

    @property
    def shortest_silence(self) -> float:
        return 0.0 if self.last else max(0.0, self.began - self.came_before)

    @property
    def reported(self) -> bool:
        return bool(self.values["reported"])


@dataclass(frozen=True, slots=True)
class _Plan:
    limit_seconds: float
    delay_seconds: float
    control_seconds: float
    required_faults: tuple[str, ...]

    @property
    def due_seconds(self) -> float:
        return self.limit_seconds + self.delay_seconds

    @property
    def margin_seconds(self) -> float:
        """A commit takes its time between looking at the clock and being seen."""
        return self.delay_seconds / 2

    @property
    def least_seconds(self) -> float:
        """Shorter silences must not be reported."""
        return self.limit_seconds - self.margin_seconds


def check(history: History) -> Verdict:
    """The verdict on a history of silences; samples are the looks at which the system answered."""
    parameters = history.header.parameters
    plan = _Plan(
        float(parameters["limit_seconds"]),
        float(parameters["delay_seconds"]),
        float(parameters["control_seconds"]),
        tuple(parameters["required_faults"]),
    )
    operations = history.of_action("look")
    answered = [operation for operation in operations if operation.attributes["reported"] is not None]
    looks = _looks(answered)
    findings = [
        *_false_reports(looks, plan),
        *_missing_reports(looks, plan),
        *_frozen_gauges(looks),
        *_wrong_silences(looks, plan),
        *_gaps_in_evidence(history, looks, plan),
    ]
    if len(answered) < len(operations):
        findings.append(doubt("no_answer", "/health did not answer 200", len(operations) - len(answered)))
    reports = sum(look.reported for look in looks)
    return conclude(
        len(looks),
        findings,
        f"{len(looks)} looks, {reports} of them in silences that were reported in time and cleared",
    )


def _looks(operations: Sequence[Operation]) -> list[_Look]:
    looks: list[_Look] = []
    for position, operation in enumerate(operations):
        began, ended = _seconds(operation.invoked_monotonic_ns), _seconds(operation.completed_monotonic_ns)
        rows = operation.attributes["rows"]
        # Of the first rows nobody knows when they came.
        came_after, came_before, brought = -inf, ended, True
        if looks:
            before = looks[-1]
            brought = rows != before.values["rows"]
            came_after, came_before = (before.began, ended) if brought else (before.came_after, before.came_before)
        if not rows:
            # What has never come is no silence.
            came_after = came_before = ended
        following = operations[position + 1].attributes["rows"] if position + 1 < len(operations) else None
        values = dict(operation.attributes)
        looks.append(_Look(began, ended, came_after, came_before, brought, following != rows, values))
    return looks


def _false_reports(looks: Sequence[_Look], plan: _Plan) -> Iterator[Finding]:
    began_silent = False
    alarms: list[str] = []
    kept: list[str] = []
    for position, look in enumerate(looks):
        if not look.reported:
            continue
        if position == 0 or not looks[position - 1].reported:
            began_silent = look.longest_silence >= plan.least_seconds
        rows_came = look.longest_silence < plan.least_seconds
        if rows_came and not began_silent:
            alarms.append(f"at {look.ended:.3f} s, rows at most {look.longest_silence:.3f} s ago")
        elif rows_came and look.began - _resumed(looks, position) > plan.delay_seconds:
            kept.append(f"at {look.ended:.3f} s, rows came again {look.began - _resumed(looks, position):.3f} s before")
    if alarms:
        yield Finding("false_alarm", "a silence was reported while rows came", len(alarms), tuple(alarms))
    if kept:
        yield Finding("not_cleared", "the report went on after rows came again", len(kept), tuple(kept))


def _resumed(looks: Sequence[_Look], position: int) -> float:
    """When the rows that ended a reported silence had come."""
    first = position
    while first > 0 and looks[first - 1].reported:
        first -= 1
    return next(look.ended for look in looks[first : position + 1] if look.brought or look is looks[position])


def _missing_reports(looks: Sequence[_Look], plan: _Plan) -> Iterator[Finding]:
    late: list[str] = []
    never: list[str] = []
    for silence in _silences(looks):
        missing = [look for look in silence if look.shortest_silence > plan.due_seconds and not look.reported]
        if missing:
            found = f"{len(missing)} looks from {missing[0].shortest_silence:.3f} s of silence on did not report it"
            (late if any(look.reported for look in silence) else never).append(found)
    due = f"within {plan.due_seconds:g} s"
    if late:
        yield Finding(
            "noticed_late", f"a silence was not reported {due}, or not as long as it lasted", len(late), tuple(late)
        )
    if never:
        yield Finding("unnoticed", f"a silence was not reported {due}, nor later", len(never), tuple(never))


def _silences(looks: Sequence[_Look]) -> list[list[_Look]]:
    """Runs of looks after one another between which no row came."""
    runs: list[list[_Look]] = []
    for look in looks:
        if look.brought or not runs:
            runs.append([])
        if not look.last:
            runs[-1].append(look)
    return [run for run in runs if len(run) > 1]


def _frozen_gauges(looks: Sequence[_Look]) -> Iterator[Finding]:
    for name in _GAUGES:
        wrong: list[str] = []
        for silence in _silences(looks):
            seen = [look for look in silence if look.values.get(name) is not None]
            for before, after in pairwise(seen):
                grown = after.values[name] - before.values[name]
                least, most = after.began - before.ended, after.ended - before.began
                if not least - _CLOCK_SECONDS <= grown <= most + _CLOCK_SECONDS:
                    wrong.append(f"{grown:.3f} s in {least:.3f} to {most:.3f} s")
        if wrong:
            yield Finding("frozen_gauge", f"{name} did not grow with the clock", len(wrong), tuple(wrong))


def _wrong_silences(looks: Sequence[_Look], plan: _Plan) -> Iterator[Finding]:
    wrong: list[str] = []
    for look in looks:
        exported = look.values.get("silence_seconds")
        if look.last and not look.values["rows"]:
            # The first rows came while this look went on; when they did nobody knows.
            continue
        most = look.longest_silence + plan.margin_seconds
        if exported is not None and not look.shortest_silence - _CLOCK_SECONDS <= exported <= most:
            wrong.append(f"{exported:.3f} s, was {look.shortest_silence:.3f} to {look.longest_silence:.3f} s")
    if wrong:
        yield Finding("wrong_silence", "the exported silence is not the true one", len(wrong), tuple(wrong))


def _gaps_in_evidence(history: History, looks: Sequence[_Look], plan: _Plan) -> Iterator[Finding]:
    faults = {str(operation.attributes["name"]): operation for operation in history.of_action("fault")}
    heals = {str(operation.attributes["name"]): operation for operation in history.of_action("heal")}
    for name in plan.required_faults:
        if name not in faults or name not in heals:
            yield doubt("fault_missing", f"{name} was not injected and healed")
            continue
        if not faults[name].attributes.get("effect"):
            yield doubt("fault_without_effect", f"nothing was seen of {name} on its process")
        injected = _seconds(faults[name].invoked_monotonic_ns)
        healed = _seconds(heals[name].invoked_monotonic_ns)
        yield from _gaps_around(name, injected, healed, looks, plan)
    for gauge in _GAUGES:
        if not any(sum(look.values.get(gauge) is not None for look in silence) > 1 for silence in _silences(looks)):
            yield doubt("gauge_not_seen", f"{gauge} was not exported in any silence")


def _gaps_around(name: str, injected: float, healed: float, looks: Sequence[_Look], plan: _Plan) -> Iterator[Finding]:
    before = [look for look in looks if injected - plan.control_seconds <= look.began and look.ended <= injected]
    alive = [look for look in before if look.longest_silence < plan.limit_seconds]
    if not before or len(alive) < len(before) / 2 or before[-1].ended - before[0].began < plan.control_seconds / 2:
        yield doubt("control_too_short", f"rows were not seen to come for {plan.control_seconds:g} s before {name}")
    resumed = next((look.ended for look in looks if look.began >= healed and look.brought), inf)
    during = [look for look in looks if injected <= look.began and look.ended <= resumed]
    if max((look.shortest_silence for look in during), default=0.0) <= plan.due_seconds:
        yield doubt("silence_too_short", f"rows did not stop coming for {plan.due_seconds:g} s after {name}")
    if not any(look.began - resumed > plan.delay_seconds for look in looks):
        yield doubt("not_resumed", f"rows were not seen to come for {plan.delay_seconds:g} s again after {name}")


def _seconds(monotonic_ns: int) -> float:
    return monotonic_ns / _NS_PER_SECOND
