"""A run with faults: nothing lost, nothing twice, what had to go on went on, and all was well again in time.

Verified:
- lost, duplicated: as the checker `delivery` finds them, over every record that was acknowledged.
- stood_still: while a fault lasted, each activity that had to go on did, after a second of grace; too_short: where it
  pauses as long without a fault, nothing can be said.
- not_recovered, recovered_late: after each fault records were acknowledged and taken in again, in time; every caller
  got good answers again.
- not_drained: the table took in everything in the end.
- restarted: the consumer did not end by itself more often than allowed; ended_badly: nor with an error at the end.
- kept_waiting: no caller was kept waiting for longer than allowed.
- fault_did_not_come, fault_did_not_bite, fault_not_healed: every planned fault came, its probes showed that it bit,
  what it had to stop stood still, and afterwards its probes found all well; otherwise the verdict is unknown.

Not verified:
- values, order, schema ids (see `provenance`); records that the broker never acknowledged.
- whether a connection of K2's own met the fault: the canaries share its way, not its connection.
- how slow is too slow while a fault lasts: availability and dip are measured and shown (chaos_measures), not judged.

Reads the stages fed, stored, snapshots, acknowledgements (wall_ns, records), readings (probe, wall_ns, seconds,
is_well, answer) and calls (caller, wall_ns, seconds, is_well, outcome); the operations fault (fault, target, effects,
injecting_wall_ns, injected_wall_ns, healing_wall_ns, healed_wall_ns, acknowledged_before_healing), phase (phase),
drain and consumer (restarts, exit_status); the parameters goes_on, stops, expected_faults, recovers_within_seconds,
restarts and answers_within_seconds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from conformance.checkers import delivery
from conformance.checkers.chaos_effects import Reading, find_without_effect
from conformance.checkers.chaos_measures import (
    SECOND_NS,
    Measures,
    Window,
    acknowledged_progress,
    activities,
    measure,
    measured_time,
    recovered_at,
    table_totals,
    windows,
)
from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

_STAGES = ("fed", "stored", "snapshots", "acknowledgements", "readings", "calls")
_GRACE_NS = SECOND_NS


def check(history: History) -> Verdict:
    """The verdict on a run with faults; samples are the acknowledged records."""
    missing = [stage for stage in _STAGES if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    delivered = delivery.check(history)
    faults, measures = windows(history), measure(history)
    findings = [
        *delivered.findings,
        *_faults(history, faults),
        *_activities(history, faults),
        *_recovery(history, faults, measures),
        *_endings(history),
    ]
    return conclude(delivered.samples, findings, _summary(faults, measures))


def _summary(faults: Sequence[Window], measures: Measures) -> str:
    count = f"{measures.acknowledged} records acknowledged, 0 lost, 0 duplicated"
    if not faults:
        return f"{count}; no fault; availability {_percent(measures.commit_availability)}"
    kinds = Counter(f"{fault['fault']} on {fault['target']}" for fault in faults)
    named = ", ".join(kind if times == 1 else f"{kind} x{times}" for kind, times in kinds.items())
    return (
        f"{count}; {named} bit; recovered in {_seconds(measures.recovery_seconds)}; "
        f"availability {_percent(measures.produce_availability)} (table {_percent(measures.commit_availability)}); "
        f"throughput dip {_percent(measures.produce_dip)} (table {_percent(measures.commit_dip)})"
    )


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.1f} s"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _faults(history: History, faults: Sequence[Window]) -> Iterator[Finding]:
    expected = int(history.header.parameters["expected_faults"])
    if len(faults) < expected:
        yield doubt("fault_did_not_come", f"of {expected} planned faults {len(faults)} came", expected - len(faults))
    readings: dict[str, list[Reading]] = {}
    for one in sorted(history.rows("readings"), key=lambda one: int(one["wall_ns"])):
        readings.setdefault(one["probe"], []).append(one)
    for fault in faults:
        yield from find_without_effect(fault, readings, faults[0]["injecting_wall_ns"])


def _activities(history: History, faults: Sequence[Window]) -> Iterator[Finding]:
    """What had to go on and did not, and what had to stop and did not."""
    parameters, usual = history.header.parameters, measured_time(history)
    done = activities(history)
    for fault in faults:
        began, ended = fault["injected_wall_ns"], fault["healing_wall_ns"]
        began += min(_GRACE_NS, (ended - began) // 2)
        name = f"{fault['fault']} on {fault['target']}"
        for activity in parameters["goes_on"]:
            if done[activity].between(began, ended):
                continue
            if usual is not None and 2 * done[activity].longest_pause(*usual) > ended - began:
                yield doubt("too_short", f"{activity} pauses for as long as {name} lasted without a fault, too")
            else:
                yield Finding("stood_still", f"{activity} stood still during {name}")
        for activity in parameters["stops"]:
            if amount := done[activity].between(began, ended):
                yield doubt("fault_did_not_bite", f"{activity} went on during {name}", amount)


def _recovery(history: History, faults: Sequence[Window], measures: Measures) -> Iterator[Finding]:
    limit = history.header.parameters["recovers_within_seconds"]
    acknowledged, totals = acknowledged_progress(history), table_totals(history)
    for fault in faults:
        if recovered_at(fault, acknowledged, totals) is None:
            yield Finding("not_recovered", f"all was never as before {fault['fault']} on {fault['target']}")
    if measures.recovery_seconds is not None and measures.recovery_seconds > limit:
        yield Finding("recovered_late", f"after {measures.recovery_seconds:.1f} s, {limit:g} s are allowed")
    calls = history.rows("calls")
    healed = max((fault["healed_wall_ns"] for fault in faults), default=0)
    ill = sorted(
        {one["caller"] for one in calls}
        - {one["caller"] for one in calls if one["is_well"] and one["wall_ns"] >= healed}
    )
    if ill:
        yield Finding("not_recovered", "callers got no good answer any more", len(ill), tuple(ill))
    allowed = history.header.parameters.get("answers_within_seconds")
    late = [one for one in calls if allowed is not None and one["seconds"] > allowed]
    if late:
        examples = tuple(f"{one['caller']}: {one['outcome']} after {one['seconds']:.1f} s" for one in late)
        yield Finding("kept_waiting", f"callers waited longer than {allowed:g} s", len(late), examples)


def _endings(history: History) -> Iterator[Finding]:
    if not any(one.outcome == "ok" for one in history.of_action("drain")):
        yield Finding("not_drained", "the table did not take in everything that was acknowledged")
    consumers = [one.attributes for one in history.of_action("consumer")]
    if not consumers:
        yield doubt("consumer_unknown", "nothing says how the consumer ended")
    for consumer in consumers:
        if consumer["restarts"] > history.header.parameters["restarts"]:
            yield Finding("restarted", "the consumer ended by itself", consumer["restarts"])
        if consumer["exit_status"] != 0:
            yield Finding("ended_badly", f"the consumer ended with status {consumer['exit_status']} when told to stop")
