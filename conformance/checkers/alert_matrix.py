"""Faults and the alerts they must fire: each was heard at the webhook, was over afterwards, and all is silent without.

Verified:
- not_fired: every alert that a fault must fire fired in Prometheus while it lasted; not_told: and the webhook heard.
- not_resolved: everything the webhook was told of, by whatever fault, was told to be over before the run ended.
- told_elsewhere: critical alerts went to the pager, all others to business hours.
- fired_in_control: in the control window nothing fired and nothing was told.
- fired_already: no alert that a fault must fire fired when it was put there; otherwise the verdict is unknown.
- fault_did_not_bite, fault_not_healed: the fault's probes show it, and show that it is gone; otherwise unknown.
- never_exercised, too_few_real: every named alert was exercised, and enough of them by a real fault, not an injection;
  otherwise unknown. injection_left: what was pretended was taken back.
- control_too_short, not_watched: the control window was as long as it must be and alerts were looked at throughout.

Not verified:
- production's own waits: everything that lasts was divided by one factor, which the plan names.
- alerts that follow from a fault and that it need not fire; the report lists them.
- that the fault is the only possible cause of what fired while it lasted.

Reads the operations
    fault      fault, target, fires, is_injected, group, effects, injecting_wall_ns, injected_wall_ns, healing_wall_ns,
               healed_wall_ns, kept
    control    its beginning and its end
    injection  metric, is_deleted
the stages notifications (wall_ns, receiver, status, alert, severity, fingerprint), alert_states (wall_ns, alert,
state), looks (wall_ns) and readings (group, probe, wall_ns, seconds, is_well, answer), and the parameters named,
least_real, control_seconds (0: none is needed) and longest_look_seconds.
"""

from collections.abc import Iterator, Sequence, Set
from itertools import pairwise

from conformance.checkers.alert_measures import (
    FIRING,
    SECOND_NS,
    Exercise,
    Row,
    controls,
    exercises,
    faults,
    left_open,
    name_of,
)
from conformance.checkers.chaos_effects import Reading, find_without_effect
from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

_STAGES = ("notifications", "alert_states", "looks", "readings")
_PAGER, _BUSINESS_HOURS, _CRITICAL = "pager", "business-hours", "critical"


def check(history: History) -> Verdict:
    """The verdict on a run; samples are the exercises, and each control window."""
    missing = [stage for stage in _STAGES if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    found, told = exercises(history), history.rows("notifications")
    toothless = {name: list(doubts) for name, doubts in _without_effect(history)}
    findings = [
        *(one for doubts in toothless.values() for one in doubts),
        *_already(history),
        *_unheard(found, {name for name, doubts in toothless.items() if doubts}),
        *_unresolved(told),
        *_elsewhere(told),
        *_control(history, told),
        *_watched(history),
        *_coverage(history),
    ]
    heard = sorted(one.detection_seconds for one in found if one.detection_seconds is not None)
    real = {one.alert for one in found if not one.is_injected}
    summary = f"{len({one.alert for one in found})} alerts heard and over again, {len(real)} of them by a real fault"
    if heard:
        summary += f"; heard after {heard[0]:.1f} to {heard[-1]:.1f} s"
    silent = sum(ended - began for began, ended in controls(history)) / SECOND_NS
    return conclude(len(found) + len(controls(history)), findings, f"{summary}; {silent:.0f} s of silence without")


def _without_effect(history: History) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Doubts about each fault, held beside what the probes of its group saw before the group's first."""
    by_group: dict[str, list[Row]] = {}
    for fault in faults(history):
        by_group.setdefault(fault["group"], []).append(fault)
    rows = sorted(history.rows("readings"), key=lambda one: int(one["wall_ns"]))
    for group, members in by_group.items():
        readings: dict[str, list[Reading]] = {}
        for row in rows:
            if row["group"] == group:
                readings.setdefault(row["probe"], []).append(row)
        for fault in members:
            yield name_of(fault), find_without_effect(fault, readings, members[0]["injecting_wall_ns"])


def _already(history: History) -> Iterator[Finding]:
    states = history.rows("alert_states")
    looks = [int(row["wall_ns"]) for row in history.rows("looks")]
    for fault in faults(history):
        last_look = max((look for look in looks if look < fault["injecting_wall_ns"]), default=None)
        before = {row["alert"] for row in states if row["wall_ns"] == last_look and row["state"] == FIRING}
        if already := sorted(before & set(fault["fires"])):
            yield doubt("fired_already", f"before {name_of(fault)}", len(already), tuple(already))


def _unheard(found: Sequence[Exercise], toothless: Set[str]) -> Iterator[Finding]:
    """Whether an alert is deaf or its fault did not bite cannot be told apart where the fault did not show itself."""
    silent = [one for one in found if one.detection_seconds is None and one.fault not in toothless]
    for kind, names in (
        ("not_fired", [f"{one.alert}: {one.fault}" for one in silent if one.fired_seconds is None]),
        ("not_told", [f"{one.alert}: {one.fault}" for one in silent if one.fired_seconds is not None]),
    ):
        if names:
            yield Finding(kind, "; ".join(names), len(names), tuple(names))


def _unresolved(told: Sequence[Row]) -> Iterator[Finding]:
    names = sorted({alert for alert, _ in left_open(told)})
    if names:
        yield Finding("not_resolved", f"never told to be over: {', '.join(names)}", len(names), tuple(names))


def _elsewhere(told: Sequence[Row]) -> Iterator[Finding]:
    wrong = sorted({f"{row['alert']} at {row['receiver']}" for row in told if row["receiver"] != _receiver_of(row)})
    if wrong:
        yield Finding("told_elsewhere", "; ".join(wrong), len(wrong), tuple(wrong))


def _receiver_of(row: Row) -> str:
    return _PAGER if row["severity"] == _CRITICAL else _BUSINESS_HOURS


def _control(history: History, told: Sequence[Row]) -> Iterator[Finding]:
    wanted, windows = float(history.header.parameters["control_seconds"]), controls(history)
    for began, ended in windows:
        seconds = (ended - began) / SECOND_NS
        if seconds < wanted:
            yield doubt("control_too_short", f"{seconds:.0f} s, {wanted:.0f} s are needed")
        noise = {row["alert"] for row in told if began <= row["wall_ns"] < ended}
        noise |= {
            row["alert"]
            for row in history.rows("alert_states")
            if row["state"] == FIRING and began <= row["wall_ns"] < ended
        }
        if noise:
            yield Finding("fired_in_control", ", ".join(sorted(noise)), len(noise), tuple(sorted(noise)))
    if wanted and not windows:
        yield doubt("control_too_short", "there was no control window")


def _watched(history: History) -> Iterator[Finding]:
    longest_ns = float(history.header.parameters["longest_look_seconds"]) * SECOND_NS
    looks = sorted(int(row["wall_ns"]) for row in history.rows("looks"))
    spans = [*controls(history), *((one["injecting_wall_ns"], one["healed_wall_ns"]) for one in faults(history))]
    for began, ended in spans:
        inside = [began, *(look for look in looks if began <= look <= ended), ended]
        gap = max(later - earlier for earlier, later in pairwise(inside))
        if gap > longest_ns:
            yield doubt("not_watched", f"alerts were not looked at for {gap / SECOND_NS:.1f} s")


def _coverage(history: History) -> Iterator[Finding]:
    exercised = {alert for fault in faults(history) for alert in fault["fires"]}
    named = set(history.header.parameters["named"])
    if never := sorted(named - exercised):
        yield doubt("never_exercised", ", ".join(never), len(never), tuple(never))
    real = {alert for fault in faults(history) if not fault["is_injected"] for alert in fault["fires"]} & named
    least = int(history.header.parameters["least_real"])
    if len(real) < least:
        yield doubt("too_few_real", f"{len(real)} of {len(named)} by a real fault, {least} are needed")
    left = [str(one.attributes["metric"]) for one in history.of_action("injection") if not one.attributes["is_deleted"]]
    if left:
        yield doubt("injection_left", "what was pretended is still there", len(left), tuple(left))
