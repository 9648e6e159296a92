"""Evidence to points: pure functions, exact arithmetic. The worst verdict wins: fail > unknown > pass.

A claim is proven when a clause that cites it passed on a stack that can prove it, with enough samples, its history
still there and unchanged, judged by a checker that caught every defect planted for it; when no clause that cites it
failed or is unknown on any stack; and when no mutant of such a clause survived. A criterion earns its weight times the
proven share of its claims (a claim that needed a retry counts half) and nothing while one of its claims is refuted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from fractions import Fraction

from reports.readiness.evidence import CheckerRecord, Evidence, Exhibit, MutantVerdict, Verdict
from reports.readiness.registry import Claim, Registry, Requirement, Stack
from reports.readiness.rubric import Criterion, Rubric
from reports.readiness.wording import count


class State(StrEnum):
    """What is known of a claim."""

    PROVEN = "proven"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_EXERCISED = "not exercised"


class CauseKind(StrEnum):
    """Why a claim does not earn in full; remedies are grouped by it."""

    REFUTED = "refuted"
    HARNESS_ERROR = "harness error"
    UNDECIDED = "undecided"
    MUTANT_SURVIVED = "mutant survived"
    NO_HISTORY = "no history"
    CHECKER_UNPROVEN = "checker unproven"
    TOO_FEW_SAMPLES = "too few samples"
    RETRIED = "retried"
    WEAKER_STACK = "weaker stack"
    SKIPPED = "skipped"
    NOT_SELECTED = "not selected"
    NO_CLAUSE = "no clause"
    NO_CLAUSE_NOR_STACK = "no clause nor stack"
    NOTHING_RAN = "nothing ran"


@dataclass(frozen=True, slots=True)
class Cause:
    """A kind, and what it is about: a clause, a checker, a mutant, a stack or a requirement."""

    kind: CauseKind
    subject: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A judged claim.

    Attributes:
        claim: the claim.
        state: what is known of it.
        reason: one sentence.
        cause: why it does not earn in full; None when it does.
        evidence: positions in `Evidence.exhibits` of the clauses that cite it.
    """

    claim: Claim
    state: State
    reason: str
    cause: Cause | None
    evidence: tuple[int, ...]

    @property
    def earned(self) -> Fraction:
        """Share of the claim that counts: 1, 1/2 after a retry, or 0."""
        if self.state is not State.PROVEN:
            return Fraction(0)
        return Fraction(1) if self.cause is None else Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """A judged requirement, with the points it earns."""

    requirement: Requirement
    criterion: Criterion
    claims: tuple[ClaimResult, ...]

    @property
    def points(self) -> Fraction:
        """Points earned."""
        return criterion_points(
            self.criterion.weight,
            [result.state for result in self.claims],
            [result.earned for result in self.claims],
        )


@dataclass(frozen=True, slots=True)
class Score:
    """All criteria, in the order of the registry."""

    criteria: tuple[CriterionResult, ...]

    @property
    def points(self) -> Fraction:
        """Points earned out of 100."""
        return sum((criterion.points for criterion in self.criteria), Fraction(0))

    def claims(self) -> tuple[ClaimResult, ...]:
        """Every judged claim."""
        return tuple(claim for criterion in self.criteria for claim in criterion.claims)


def criterion_points(weight: Decimal, states: list[State], earned: list[Fraction]) -> Fraction:
    """Weight x earned share; 0 when a claim failed."""
    if State.FAILED in states:
        return Fraction(0)
    return Fraction(weight) * sum(earned, Fraction(0)) / len(states)


def round_down(points: Fraction, places: int) -> Decimal:
    """Points with so many decimals, never more than they are."""
    scaled = points * 10**places
    whole = Decimal(scaled.numerator // scaled.denominator)
    return (whole.scaleb(-places)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_DOWN)


def score(registry: Registry, rubric: Rubric, evidence: Evidence) -> Score:
    """Judge every claim and add up."""
    citing: dict[str, list[int]] = {}
    for position, exhibit in enumerate(evidence.exhibits):
        for claim in dict.fromkeys(exhibit.line.claims):
            citing.setdefault(claim, []).append(position)
    results = []
    for requirement in registry.requirement:
        criterion = rubric.criteria[requirement.id]
        claims = tuple(
            _judge(requirement, claim, criterion.minimum_samples.get(claim.id, 1), citing.get(claim.id, []), evidence)
            for claim in requirement.claims
        )
        results.append(CriterionResult(requirement, criterion, claims))
    return Score(tuple(results))


def _judge(
    requirement: Requirement, claim: Claim, minimum_samples: int, positions: list[int], evidence: Evidence
) -> ClaimResult:
    exhibits = [evidence.exhibits[position] for position in positions]
    state, reason, cause = (
        _worst_verdict(exhibits)
        or _survivor(exhibits, evidence)
        or _proof(claim, minimum_samples, exhibits, evidence.checkers)
        or _never_exercised(requirement, claim, evidence)
    )
    return ClaimResult(claim, state, reason, cause, tuple(positions))


_Judgement = tuple[State, str, Cause | None]


def _worst_verdict(exhibits: list[Exhibit]) -> _Judgement | None:
    clauses = [exhibit.line for exhibit in exhibits]
    for verdict, state in ((Verdict.FAIL, State.FAILED), (Verdict.UNKNOWN, State.UNKNOWN)):
        found = [clause for clause in clauses if clause.verdict is verdict]
        if found:
            first = next((clause for clause in found if clause.harness_error), found[0])
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            kind = CauseKind.HARNESS_ERROR if first.harness_error else CauseKind.UNDECIDED
            kind = CauseKind.REFUTED if verdict is Verdict.FAIL else kind
            # What a clause advises is about the system, and a crash says nothing about that.
            remedy = "" if first.harness_error else first.remedy
            return state, f"{first.clause}: {first.reason}{more}", Cause(kind, first.family, remedy)
    return None


def _survivor(exhibits: list[Exhibit], evidence: Evidence) -> _Judgement | None:
    for mutant in evidence.mutants:
        if mutant.verdict is MutantVerdict.SURVIVED and any(mutant.concerns(exhibit.line) for exhibit in exhibits):
            reason = f"the mutant {mutant.mutant} survived {mutant.clause}: {mutant.reason}"
            return State.UNKNOWN, reason, Cause(CauseKind.MUTANT_SURVIVED, mutant.mutant)
    return None


def _proof(
    claim: Claim, minimum_samples: int, passes: list[Exhibit], checkers: Mapping[str, CheckerRecord]
) -> _Judgement | None:
    """Judge a claim whose clauses all passed; None when no clause cites it."""
    shortcomings = [_shortcoming(claim, minimum_samples, exhibit, checkers) for exhibit in passes]
    proofs = [exhibit.line for exhibit, short in zip(passes, shortcomings, strict=True) if short is None]
    if proofs:
        samples = sum(clause.samples for clause in proofs)
        clauses = count(len(proofs), "clause")
        retried = next((clause for clause in proofs if clause.retries), None)
        if retried:
            reason = f"{retried.clause} passed only after a retry, so half counts"
            return State.PROVEN, reason, Cause(CauseKind.RETRIED, retried.family)
        return State.PROVEN, f"{clauses} passed on {count(samples, 'sample')}", None
    found = [short for short in shortcomings if short is not None]
    # What is undecided says more than what was never tried on the right stack.
    return min(found, key=lambda judgement: judgement[0] is State.NOT_EXERCISED, default=None)


def _shortcoming(
    claim: Claim, minimum_samples: int, exhibit: Exhibit, checkers: Mapping[str, CheckerRecord]
) -> _Judgement | None:
    """Why this pass does not prove the claim; None when it does."""
    clause = exhibit.line
    if not claim.needs.met_by(clause.stack):
        reason = f"needs {claim.needs}: {clause.clause} passed on the {clause.stack} stack only"
        return State.NOT_EXERCISED, reason, Cause(CauseKind.WEAKER_STACK, claim.needs)
    if exhibit.gap:
        return State.UNKNOWN, f"{clause.clause}: {exhibit.gap}", Cause(CauseKind.NO_HISTORY, clause.family)
    checker = checkers.get(clause.checker or "")
    if checker is None or checker.planted == 0:
        name = f"its checker ({clause.checker})" if clause.checker else "its checker"
        reason = f"{clause.clause}: {name} has not shown that it can fail"
        return State.UNKNOWN, reason, Cause(CauseKind.CHECKER_UNPROVEN, clause.checker or clause.family)
    if not checker.can_fail:
        missed = f"{checker.planted - checker.caught or len(checker.missed)} of {checker.planted}"
        reason = f"{clause.clause}: its checker ({checker.checker}) missed {missed} planted defects"
        return State.UNKNOWN, reason, Cause(CauseKind.CHECKER_UNPROVEN, checker.checker)
    needed = max(minimum_samples, clause.minimum_samples)
    if clause.samples < needed:
        reason = f"{clause.clause} rests on {count(clause.samples, 'sample')}, {needed:,} are needed"
        return State.UNKNOWN, reason, Cause(CauseKind.TOO_FEW_SAMPLES, clause.family)
    return None


def _never_exercised(requirement: Requirement, claim: Claim, evidence: Evidence) -> _Judgement:
    stacks = [run.stack for run in evidence.runs] or [Stack.EMBEDDED]
    too_weak = not any(claim.needs.met_by(stack) for stack in stacks)
    no_clause = Cause(CauseKind.NO_CLAUSE, requirement.id)
    if evidence.offered is not None and claim.id not in evidence.offered:
        if too_weak:
            cause = Cause(CauseKind.NO_CLAUSE_NOR_STACK, claim.needs)
            return State.NOT_EXERCISED, f"no clause cites it yet, and it needs {claim.needs}", cause
        return State.NOT_EXERCISED, "no clause cites it", no_clause
    if too_weak:
        ran = " and ".join(dict.fromkeys(stacks))
        had = f"this run had the {ran} stack" if len(stacks) == 1 else f"these runs had {ran}"
        return State.NOT_EXERCISED, f"needs {claim.needs}, {had}", Cause(CauseKind.WEAKER_STACK, claim.needs)
    if claim.id in evidence.skipped:
        reason = evidence.skipped[claim.id]
        return State.NOT_EXERCISED, f"skipped: {reason}", Cause(CauseKind.SKIPPED, reason.partition(":")[0])
    if not evidence.exhibits:
        return State.NOT_EXERCISED, "nothing was executed", Cause(CauseKind.NOTHING_RAN, "")
    if evidence.offered is not None:
        return State.NOT_EXERCISED, "its clause was not selected", Cause(CauseKind.NOT_SELECTED, "")
    return State.NOT_EXERCISED, "no clause that ran cites it", no_clause
