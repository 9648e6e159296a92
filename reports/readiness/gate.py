"""The decision about a release, and the exit code that carries it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from reports.readiness.evidence import Evidence, MutantVerdict
from reports.readiness.remedies import Remedy
from reports.readiness.scoring import CauseKind, ClaimResult, Score, State, round_down
from reports.readiness.waivers import Waiver, waived_points

NEXT_STEPS = 3
_SHOWN = 5
_DECIDING = (State.FAILED, State.UNKNOWN)


class Decision(StrEnum):
    """The four ends of a gate, in the order of their exit codes."""

    PASSED = "pass"
    SYSTEM_FAILED = "system failed"
    INSUFFICIENT_EVIDENCE = "not enough evidence"
    HARNESS_BROKE = "harness broke"

    @property
    def exit_code(self) -> int:
        """Exit code of the gate: 0, 1, 2 or 3."""
        return list(Decision).index(self)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """A decision with its reasons, the gravest first."""

    decision: Decision
    minimum: Decimal
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


def decide(
    evidence: Evidence,
    score: Score,
    remedies: tuple[Remedy, ...],
    minimum: Decimal,
    waivers: tuple[Waiver, ...],
    *,
    today: date,
    regressions: Sequence[str] = (),
) -> GateVerdict:
    """Decide about a release.

    Evidence that cannot be read says nothing about the system, so it comes first. A refuted claim outweighs a clause
    that crashed beside it: what was found wrong stays wrong, and so does what was promised to be mended by now. Every
    other doubt is named after those.

    Args:
        evidence: what was read.
        score: what it earns.
        remedies: the first of them become the next steps.
        minimum: points a release needs.
        waivers: an active one keeps its claim from deciding, one that has expired fails the gate.
        today: the day waivers are judged on.
        regressions: what an earlier run had and this one lacks; one sentence each.
    """
    waived = {waiver.claim for waiver in waivers if not waiver.expired(today)}
    judged = [result for result in score.claims() if result.claim.id not in waived]
    excused = [result for result in score.claims() if result.claim.id in waived and result.state in _DECIDING]
    crashed = [
        f"{exhibit.line.clause}: {exhibit.line.reason}"
        for exhibit in evidence.exhibits
        if exhibit.line.harness_error and not waived.issuperset(exhibit.line.claims)
    ]
    failed = _expired(waivers, today) + _sentences(result for result in judged if result.state is State.FAILED)
    doubts = [*_doubts(evidence, judged, waived_points(score.points, waivers), minimum), *_shortened(list(regressions))]
    if evidence.problems:
        decision = Decision.HARNESS_BROKE
    elif failed:
        decision = Decision.SYSTEM_FAILED
    elif crashed:
        decision = Decision.HARNESS_BROKE
    elif doubts:
        decision = Decision.INSUFFICIENT_EVIDENCE
    else:
        decision = Decision.PASSED
    reasons = [*_shortened(list(evidence.problems)), *_shortened(failed), *_shortened(crashed), *doubts]
    if not reasons:
        points = round_down(waived_points(score.points, waivers), 1)
        reasons = [f"nothing is failed or unknown, and {points} points are enough for {minimum}"]
    reasons += [f"waived: {sentence}" for sentence in _sentences(excused)]
    return GateVerdict(decision, minimum, tuple(reasons), _next_steps(evidence, remedies))


def _expired(waivers: Iterable[Waiver], today: date) -> list[str]:
    return [
        f"the waiver of {waiver.claim} expired on {waiver.expires}: {waiver.owner} mends it or asks for a new one"
        for waiver in waivers
        if waiver.expired(today)
    ]


def _doubts(evidence: Evidence, judged: list[ClaimResult], points: Fraction, minimum: Decimal) -> list[str]:
    doubts = [] if evidence.exhibits else ["nothing was executed"]
    named_elsewhere = (CauseKind.HARNESS_ERROR, CauseKind.MUTANT_SURVIVED)
    unknown = [
        result
        for result in judged
        if result.state is State.UNKNOWN and result.cause and result.cause.kind not in named_elsewhere
    ]
    doubts.extend(_shortened(_sentences(unknown)))
    doubts.extend(
        f"the mutant {mutant.mutant} {'survived' if mutant.verdict is MutantVerdict.SURVIVED else 'is unknown'}: "
        f"{mutant.reason}"
        for mutant in evidence.mutants
        if mutant.verdict is not MutantVerdict.KILLED
    )
    if not evidence.problems and points < Fraction(minimum):
        doubts.append(f"{round_down(points, 1)} points of the {minimum} the gate asks for")
    return doubts


def _sentences(results: Iterable[ClaimResult]) -> list[str]:
    """One sentence a reason, so that one finding is not told once for every claim it touches."""
    claims: dict[tuple[State, str], list[str]] = {}
    for result in results:
        claims.setdefault((result.state, result.reason), []).append(result.claim.id)
    return [f"{', '.join(identifiers)} {state}: {reason}" for (state, reason), identifiers in claims.items()]


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - _SHOWN
    return sentences if more <= 0 else [*sentences[:_SHOWN], f"and {more} more of this kind, see the card"]


def _next_steps(evidence: Evidence, remedies: tuple[Remedy, ...]) -> tuple[str, ...]:
    if evidence.problems:
        return ("Repair what wrote the run directory, then run again",)
    return tuple(
        f"{remedy.headline} (up to +{round_down(remedy.points, 2)} points)" for remedy in remedies[:NEXT_STEPS]
    )
