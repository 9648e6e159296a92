"""Recoveries by the runbooks' own commands: in time, and every record where it belongs afterwards.

Verified:
- lost, duplicated, reordered, mutated, phantom, ...: as the checker `provenance` finds them, over a feed that went on
  from before the fault until after the recovery.
- not_recovered, too_late: all was well again, within the recovery time objective, counted from the fault.
- command_failed: each command block of a runbook ended as its page says.
- no_commands: it were the runbooks that brought it back, not time; otherwise the verdict is unknown.
- fault_did_not_bite: the symptom was seen before the first command was typed; otherwise unknown.
- nothing_fed: records were acknowledged before the fault and after the recovery; otherwise unknown.
- recovery_left_out: every recovery of the plan was carried out; otherwise unknown.

Not verified:
- how long a person takes to see the alert and to open the page: the objective is of the machine's part.

Reads what `provenance` reads; the operations recovery (recovery, objective_seconds, symptom_expected, symptom_observed,
fault_wall_ns, begun_wall_ns, recovered_wall_ns or null, acknowledged_before, acknowledged_after) and command (recovery,
place, exit_code, expected_exit_code); and the parameter expected_recoveries (names).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers import provenance
from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_SECOND_NS = 1e9


def check(history: History) -> Verdict:
    """The verdict on recoveries; samples are the records that were followed."""
    followed = provenance.check(history)
    recoveries = [operation.attributes for operation in history.of_action("recovery")]
    commands = [operation.attributes for operation in history.of_action("command")]
    findings = [*followed.findings, *_left_out(history, recoveries)]
    for one in recoveries:
        findings += _of_recovery(one, [each for each in commands if each["recovery"] == one["recovery"]])
    return conclude(followed.samples, findings, _summary(followed, recoveries))


def outage_seconds(recovery: Mapping[str, Any]) -> float | None:
    """From the fault until all was well again; None where it never was."""
    if recovery["recovered_wall_ns"] is None:
        return None
    return float(recovery["recovered_wall_ns"] - recovery["fault_wall_ns"]) / _SECOND_NS


def _left_out(history: History, recoveries: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    done = {one["recovery"] for one in recoveries}
    left_out = [name for name in history.header.parameters["expected_recoveries"] if name not in done]
    if left_out:
        yield doubt("recovery_left_out", "planned, and not carried out", len(left_out), tuple(left_out))


def _of_recovery(one: Mapping[str, Any], commands: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    name, seconds = one["recovery"], outage_seconds(one)
    if one["symptom_observed"] != one["symptom_expected"]:
        seen, must = one["symptom_observed"], one["symptom_expected"]
        yield doubt("fault_did_not_bite", f"{name}: seen was {seen!r}, a fault that bites shows {must!r}")
    if not commands:
        yield doubt("no_commands", f"{name}: no command of a runbook was carried out")
    for command in commands:
        if command["exit_code"] != command["expected_exit_code"]:
            detail = f"{name}: {command['place']} ended with {command['exit_code']}"
            yield Finding("command_failed", f"{detail}, must be {command['expected_exit_code']}")
    if seconds is None:
        yield Finding("not_recovered", f"{name}: all was never well again")
    elif seconds > one["objective_seconds"]:
        yield Finding("too_late", f"{name}: {seconds:.1f} s, the objective is {one['objective_seconds']:g} s")
    for when in ("before", "after"):
        if not one[f"acknowledged_{when}"]:
            yield doubt("nothing_fed", f"{name}: no record was acknowledged {when} it")


def _summary(followed: Verdict, recoveries: Sequence[Mapping[str, Any]]) -> str:
    told = [
        f"{one['recovery']} after {seconds:.1f} s (objective {one['objective_seconds']:g} s)"
        for one in recoveries
        if (seconds := outage_seconds(one)) is not None
    ]
    return f"{followed.samples} records intact; {'; '.join(told)}"
