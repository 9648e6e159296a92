"""From a run directory to the card: read, score, decide, and lay out as a document."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Literal

from reports.readiness.document import (
    FORMAT,
    AbsenceLine,
    CardDocument,
    CheckerLine,
    ClaimLine,
    ClauseLine,
    CountLine,
    CriterionLine,
    FindingLine,
    MutantLine,
    RemedyLine,
    RulerLine,
    RunLine,
    StageLine,
    VerdictLine,
)
from reports.readiness.evidence import ClauseVerdict, Evidence, Verdict, read_evidence
from reports.readiness.gate import GateVerdict, decide
from reports.readiness.registry import Registry
from reports.readiness.remedies import Remedy, remedies
from reports.readiness.rubric import Rubric
from reports.readiness.scoring import CauseKind, CriterionResult, Score, State, round_down, score

_POINT_PLACES = 4
_ABSENCES = {
    CauseKind.NO_CLAUSE: "no clause that ran cites them",
    CauseKind.NO_CLAUSE_NOR_STACK: "no clause cites them yet, and they need the {subject} stack",
    CauseKind.WEAKER_STACK: "they need the {subject} stack",
    CauseKind.NOT_SELECTED: "their clauses were not selected",
    CauseKind.NOTHING_RAN: "nothing was executed",
}
_GRAVITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
CriterionState = Literal["proven", "partly proven", "failed", "unknown", "not exercised"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A run, judged."""

    registry: Registry
    rubric: Rubric
    evidence: Evidence
    score: Score
    remedies: tuple[Remedy, ...]

    def gate(self, minimum: Decimal | None = None) -> GateVerdict:
        """The gate's decision, at the rubric's minimum unless another is given."""
        return decide(
            self.evidence, self.score, self.remedies, self.rubric.gate.minimum if minimum is None else minimum
        )

    def shown_score(self) -> Decimal | None:
        """The score with one decimal, never rounded up; None when the evidence could not be read."""
        return None if self.evidence.problems else round_down(self.score.points, 1)


def assess(directory: Path, registry: Registry, rubric: Rubric) -> Assessment:
    """Read and judge a run directory."""
    evidence = read_evidence(directory, registry)
    scored = score(registry, rubric, evidence)
    return Assessment(registry, rubric, evidence, scored, remedies(scored))


def document(assessment: Assessment) -> CardDocument:
    """The card of a judged run."""
    evidence, scored, rubric = assessment.evidence, assessment.score, assessment.rubric
    gate = assessment.gate()
    shown = assessment.shown_score()
    claims = scored.claims()
    return CardDocument(
        format=FORMAT,
        ruler=RulerLine(rubric.version, len(scored.criteria), len(claims), float(rubric.gate.minimum)),
        verdict=VerdictLine(gate.decision.value, gate.decision.exit_code, gate.reasons, gate.next_steps),
        score=None if shown is None else float(shown),
        stage_reached=None if shown is None else _stage_reached(rubric, scored.points),
        counts=CountLine(*(sum(claim.state is state for claim in claims) for state in State)),
        absences=_absences(scored),
        stages=_stages(rubric, scored.criteria),
        remedies=tuple(
            RemedyLine(remedy.headline, remedy.detail, _number(remedy.points), remedy.claims)
            for remedy in assessment.remedies
        ),
        criteria=tuple(_criterion_line(criterion, evidence) for criterion in scored.criteria),
        clauses=tuple(_clause_line(clause, evidence) for clause in evidence.clauses),
        checkers=tuple(
            CheckerLine(c.checker, c.planted, c.caught, c.missed, c.clean_runs, c.false_alarms)
            for c in evidence.checkers.values()
        ),
        mutants=tuple(MutantLine(m.mutant, m.clause, m.verdict.value, m.reason) for m in evidence.mutants),
        run=_run_line(evidence),
        problems=evidence.problems,
    )


def criterion_state(result: CriterionResult) -> CriterionState:
    """The state of a criterion: the worst of its claims, or how far it is proven."""
    states = {claim.state for claim in result.claims}
    if State.FAILED in states:
        return "failed"
    if State.UNKNOWN in states:
        return "unknown"
    if all(claim.earned == 1 for claim in result.claims):
        return "proven"
    return "partly proven" if State.PROVEN in states else "not exercised"


def _number(points: Fraction) -> float:
    return float(round_down(points, _POINT_PLACES))


def _stage_reached(rubric: Rubric, points: Fraction) -> str | None:
    reached = [stage.id for stage, threshold in rubric.thresholds() if points >= Fraction(threshold)]
    return reached[-1] if reached else None


def _shares(criterion: CriterionResult) -> dict[State, Fraction]:
    """Where the weight of a criterion went. A refuted claim forfeits all of it; half-counted claims leave doubt."""
    weight = Fraction(criterion.criterion.weight)
    if any(claim.state is State.FAILED for claim in criterion.claims):
        return {State.FAILED: weight}
    shares = dict.fromkeys(State, Fraction(0))
    for claim in criterion.claims:
        share = weight / len(criterion.claims)
        shares[State.PROVEN] += share * claim.earned
        shares[State.UNKNOWN if claim.state is State.PROVEN else claim.state] += share * (1 - claim.earned)
    return shares


def _stages(rubric: Rubric, criteria: Iterable[CriterionResult]) -> tuple[StageLine, ...]:
    sums = {stage.id: dict.fromkeys(State, Fraction(0)) for stage in rubric.stage}
    for criterion in criteria:
        for state, share in _shares(criterion).items():
            sums[criterion.criterion.stage][state] += share
    return tuple(
        StageLine(
            stage.id,
            stage.title,
            float(stage.points),
            float(threshold),
            *(_number(sums[stage.id][state]) for state in State),
        )
        for stage, threshold in rubric.thresholds()
    )


def _absences(scored: Score) -> tuple[AbsenceLine, ...]:
    claims: dict[str, int] = {}
    points: dict[str, Fraction] = {}
    for criterion in scored.criteria:
        for claim in criterion.claims:
            if claim.state is not State.NOT_EXERCISED or claim.cause is None:
                continue
            reason = _ABSENCES[claim.cause.kind].format(subject=claim.cause.subject)
            claims[reason] = claims.get(reason, 0) + 1
            share = Fraction(criterion.criterion.weight) / len(criterion.claims)
            points[reason] = points.get(reason, Fraction(0)) + share
    ordered = sorted(claims, key=lambda reason: (-points[reason], reason))
    return tuple(AbsenceLine(reason, claims[reason], _number(points[reason])) for reason in ordered)


def _criterion_line(result: CriterionResult, evidence: Evidence) -> CriterionLine:
    minimum = result.criterion.minimum_samples
    return CriterionLine(
        id=result.requirement.id,
        title=result.requirement.title,
        text=" ".join(result.requirement.text.split()),
        area=result.requirement.area,
        stage=result.criterion.stage,
        weight=float(result.criterion.weight),
        points=_number(result.points),
        state=criterion_state(result),
        reason=_criterion_reason(result),
        claims=tuple(
            ClaimLine(
                id=claim.claim.id,
                text=claim.claim.text,
                needs=claim.claim.needs.value,
                state=claim.state.value,
                reason=claim.reason,
                share=float(claim.earned),
                minimum_samples=minimum.get(claim.claim.id, 1),
                evidence=tuple(sorted(claim.evidence, key=lambda i: _GRAVITY.index(evidence.clauses[i].verdict))),
            )
            for claim in result.claims
        ),
    )


def _criterion_reason(result: CriterionResult) -> str:
    """The reason of the claim that holds the criterion back most, and how many claims are proven."""
    order = (State.FAILED, State.UNKNOWN, State.NOT_EXERCISED, State.PROVEN)
    worst = min(result.claims, key=lambda claim: (order.index(claim.state), claim.cause is None))
    proven = sum(claim.state is State.PROVEN for claim in result.claims)
    if proven == len(result.claims) and worst.cause is None:
        return "every claim is proven" if proven > 1 else worst.reason
    return f"{proven} of {len(result.claims)} proven; {worst.claim.id}: {worst.reason}"


def _clause_line(clause: ClauseVerdict, evidence: Evidence) -> ClauseLine:
    return ClauseLine(
        clause=clause.clause,
        title=clause.title,
        claims=clause.claims,
        verdict=clause.verdict.value,
        reason=clause.reason,
        remedy=clause.remedy,
        samples=clause.samples,
        minimum_samples=clause.minimum_samples,
        stack=clause.stack.value,
        seconds=clause.seconds,
        retries=clause.retries,
        checker=clause.checker or "",
        history=clause.history or "",
        history_sha256=clause.history_sha256 or "",
        history_intact=clause.history in evidence.intact,
        findings=tuple(FindingLine(f.kind, f.detail, f.count, f.examples) for f in clause.findings),
    )


def _run_line(evidence: Evidence) -> RunLine:
    run = evidence.run
    if run is None:
        return RunLine("", "", "", 0.0, "", "", "", False, "", None, None, (), "", "", {})
    duration = (run.ended_at - run.started_at).total_seconds() if run.ended_at else 0.0
    return RunLine(
        run_id=run.run_id,
        started_at=run.started_at.isoformat(timespec="seconds"),
        ended_at=run.ended_at.isoformat(timespec="seconds") if run.ended_at else "",
        duration_seconds=duration,
        profile=run.profile,
        stack=run.stack.value,
        git_commit=run.git_commit or "",
        git_dirty=bool(run.git_dirty),
        command=run.command if isinstance(run.command, str) else " ".join(run.command),
        cores=run.host.cores,
        memory_bytes=run.host.memory_bytes,
        load_average=run.host.load_average,
        python=run.host.python or "",
        kernel=run.host.kernel or "",
        versions=dict(sorted(run.versions.items())),
    )
