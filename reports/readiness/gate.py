"""The decision about a release, and the exit code that carries it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from reports.readiness.evidence import Evidence, MutantVerdict
from reports.readiness.remedies import Remedy
from reports.readiness.scoring import CauseKind, ClaimResult, Score, State, round_down

NEXT_STEPS = 3
_SHOWN = 5


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


def decide(evidence: Evidence, score: Score, remedies: tuple[Remedy, ...], minimum: Decimal) -> GateVerdict:
    """Decide about a run.

    Evidence that cannot be read says nothing about the system, so it comes first. A refuted claim outweighs a clause
    that crashed beside it: what was found wrong stays wrong. Every other doubt is named after those two.
    """
    crashed = [f"{clause.clause}: {clause.reason}" for clause in evidence.clauses if clause.harness_error]
    failed = _sentences(result for result in score.claims() if result.state is State.FAILED)
    doubts = _doubts(evidence, score, minimum)
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
        reasons = [f"every executed clause passed, and {round_down(score.points, 1)} points are enough for {minimum}"]
    return GateVerdict(decision, minimum, tuple(reasons), _next_steps(evidence, remedies))


def _doubts(evidence: Evidence, score: Score, minimum: Decimal) -> list[str]:
    doubts = [] if evidence.clauses else ["nothing was executed"]
    named_elsewhere = (CauseKind.HARNESS_ERROR, CauseKind.MUTANT_SURVIVED)
    unknown = [
        result
        for result in score.claims()
        if result.state is State.UNKNOWN and result.cause and result.cause.kind not in named_elsewhere
    ]
    doubts.extend(_shortened(_sentences(unknown)))
    doubts.extend(
        f"the mutant {mutant.mutant} {'survived' if mutant.verdict is MutantVerdict.SURVIVED else 'is unknown'}: "
        f"{mutant.reason}"
        for mutant in evidence.mutants
        if mutant.verdict is not MutantVerdict.KILLED
    )
    if not evidence.problems and score.points < Fraction(minimum):
        doubts.append(f"{round_down(score.points, 1)} points of the {minimum} the gate asks for")
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
