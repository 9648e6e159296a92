"""Judged runs laid out as the published document."""

import hashlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal

from reports.readiness.assessment import Assessment
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
    FlakyLine,
    MutantLine,
    RemedyLine,
    RulerLine,
    RunLine,
    StackStateLine,
    StageLine,
    VerdictLine,
    WaiverLine,
)
from reports.readiness.evidence import Evidence, Exhibit, RunRecord, Verdict
from reports.readiness.flaky import flaky_clauses
from reports.readiness.rubric import Rubric
from reports.readiness.ruler import Ruler
from reports.readiness.scoring import CauseKind, ClaimResult, CriterionResult, Score, State, round_down

_POINT_PLACES = 4
_ABSENCES = {
    CauseKind.NO_CLAUSE: "no clause that ran cites them",
    CauseKind.NO_CLAUSE_NOR_STACK: "no clause cites them yet, and they need the {subject} stack",
    CauseKind.WEAKER_STACK: "they need the {subject} stack",
    CauseKind.SKIPPED: "their clauses were skipped there",
    CauseKind.NOT_SELECTED: "their clauses were not selected",
    CauseKind.NOTHING_RAN: "nothing was executed",
}
_GRAVITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
CriterionState = Literal["proven", "partly proven", "failed", "unknown", "not exercised"]


def document(assessment: Assessment, into: Path | None = None) -> CardDocument:
    """The card of judged runs.

    Args:
        assessment: the runs, judged.
        into: directory the card is written to, which paths are relative to; that of the first run by default.
    """
    evidence, scored, rubric = assessment.evidence, assessment.score, assessment.ruler.rubric
    gate = assessment.gate()
    shown, waived = assessment.shown_score(), assessment.waived_score()
    claims = scored.claims()
    return CardDocument(
        format=FORMAT,
        ruler=_ruler_line(assessment.ruler),
        verdict=VerdictLine(gate.decision.value, gate.decision.exit_code, gate.reasons, gate.next_steps),
        score=None if shown is None else float(shown),
        waived_score=None if waived is None else float(waived),
        stage_reached=None if waived is None else _stage_reached(rubric, assessment.waived_points()),
        evidence_sha256=_evidence_sha256(evidence),
        stacks=tuple(stack.value for stack in evidence.stacks()),
        counts=CountLine(*(sum(claim.state is state for claim in claims) for state in State)),
        absences=_absences(scored),
        stages=_stages(rubric, scored.criteria),
        remedies=tuple(
            RemedyLine(remedy.headline, remedy.detail, _number(remedy.points), remedy.claims)
            for remedy in assessment.remedies
        ),
        criteria=_criteria(assessment),
        clauses=tuple(_clause_line(exhibit) for exhibit in evidence.exhibits),
        flaky=tuple(FlakyLine(clause, *told) for clause, told in flaky_clauses(evidence).items()),
        waivers=tuple(
            WaiverLine(w.claim, w.owner, w.reason, w.expires.isoformat(), float(w.cap), w.expired(assessment.today))
            for w in assessment.ruler.waivers
        ),
        checkers=tuple(
            CheckerLine(c.checker, c.planted, c.caught, c.missed, c.clean_runs, c.false_alarms)
            for c in evidence.checkers.values()
        ),
        mutants=tuple(MutantLine(m.mutant, m.clause, m.verdict.value, m.reason) for m in evidence.mutants),
        runs=_run_lines(evidence, into),
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


def _ruler_line(ruler: Ruler) -> RulerLine:
    return RulerLine(
        version=ruler.version,
        sha256=ruler.sha256,
        rubric_sha256=ruler.rubric_sha256,
        requirements_sha256=ruler.requirements_sha256,
        checkers_sha256=ruler.checkers_sha256,
        requirements=len(ruler.registry.requirement),
        claims=sum(1 for _ in ruler.registry.claims()),
        minimum=float(ruler.rubric.gate.minimum),
    )


def _evidence_sha256(evidence: Evidence) -> str:
    backed = [exhibit.line for exhibit in evidence.exhibits if not exhibit.gap]
    lines = sorted(f"{line.history_sha256}  {line.stack} {line.clause}\n" for line in backed)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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


def _criteria(assessment: Assessment) -> tuple[CriterionLine, ...]:
    by_stack = {
        stack.value: {result.claim.id: result for result in scored.claims()}
        for stack, scored in assessment.scores_by_stack().items()
    }
    waived = {waiver.claim for waiver in assessment.ruler.waivers}
    exhibits = assessment.evidence.exhibits
    lines = []
    for result in assessment.score.criteria:
        minimum = result.criterion.minimum_samples
        claims = tuple(
            ClaimLine(
                id=claim.claim.id,
                text=claim.claim.text,
                line=assessment.ruler.claim_lines.get(claim.claim.id, 1),
                needs=claim.claim.needs.value,
                state=claim.state.value,
                reason=claim.reason,
                share=float(claim.earned),
                minimum_samples=minimum.get(claim.claim.id, 1),
                waived=claim.claim.id in waived,
                stacks=_on_each_stack(claim, by_stack),
                evidence=tuple(sorted(claim.evidence, key=lambda i: _GRAVITY.index(exhibits[i].line.verdict))),
            )
            for claim in result.claims
        )
        lines.append(_criterion_line(result, claims))
    return tuple(lines)


def _on_each_stack(claim: ClaimResult, by_stack: dict[str, dict[str, ClaimResult]]) -> tuple[StackStateLine, ...]:
    alone = {stack: results[claim.claim.id] for stack, results in by_stack.items()}
    return tuple(StackStateLine(stack, result.state.value, result.reason) for stack, result in alone.items())


def _criterion_line(result: CriterionResult, claims: tuple[ClaimLine, ...]) -> CriterionLine:
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
        claims=claims,
    )


def _criterion_reason(result: CriterionResult) -> str:
    """The reason of the claim that holds the criterion back most, and how many claims are proven."""
    order = (State.FAILED, State.UNKNOWN, State.NOT_EXERCISED, State.PROVEN)
    worst = min(result.claims, key=lambda claim: (order.index(claim.state), claim.cause is None))
    proven = sum(claim.state is State.PROVEN for claim in result.claims)
    if proven == len(result.claims) and worst.cause is None:
        return "every claim is proven" if proven > 1 else worst.reason
    return f"{proven} of {len(result.claims)} proven; {worst.claim.id}: {worst.reason}"


def _clause_line(exhibit: Exhibit) -> ClauseLine:
    clause = exhibit.line
    return ClauseLine(
        clause=clause.clause,
        run=exhibit.run,
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
        gap=exhibit.gap,
        figures=exhibit.figures,
        findings=tuple(FindingLine(f.kind, f.detail, f.count, f.examples) for f in clause.findings),
    )


def _run_lines(evidence: Evidence, into: Path | None) -> tuple[RunLine, ...]:
    if not evidence.directories:
        return ()
    start = into or evidence.directories[0]
    # A run whose run.json cannot be used still holds the histories that its clauses point to.
    whole = len(evidence.runs) == len(evidence.directories)
    return tuple(
        _run_line(evidence.runs[position] if whole else None, os.path.relpath(directory, start))
        for position, directory in enumerate(evidence.directories)
    )


def _run_line(run: RunRecord | None, directory: str) -> RunLine:
    if run is None:
        return RunLine("", directory, "", "", 0.0, "", "", "", False, "", "", None, None, (), "", "", {})
    return RunLine(
        run_id=run.run_id,
        directory=directory,
        started_at=run.started_at.isoformat(timespec="seconds"),
        ended_at=run.ended_at.isoformat(timespec="seconds") if run.ended_at else "",
        duration_seconds=(run.ended_at - run.started_at).total_seconds() if run.ended_at else 0.0,
        profile=run.profile,
        stack=run.stack.value,
        git_commit=run.git_commit or "",
        git_dirty=bool(run.git_dirty),
        command=run.command if isinstance(run.command, str) else " ".join(run.command),
        ruler=run.ruler or "",
        cores=run.host.cores,
        memory_bytes=run.host.memory_bytes,
        load_average=run.host.load_average,
        python=run.host.python or "",
        kernel=run.host.kernel or "",
        versions=dict(sorted(run.versions.items())),
    )
