"""What to do next: causes grouped, each with the points it would bring if it were removed."""

from dataclasses import dataclass
from fractions import Fraction

from reports.readiness.scoring import Cause, CauseKind, ClaimResult, Score, State, criterion_points
from reports.readiness.wording import count


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing to do.

    Attributes:
        headline: what, in the imperative.
        detail: why.
        points: what the score would gain, everything else staying as it is.
        claims: ids of the claims it is about.
    """

    headline: str
    detail: str
    points: Fraction
    claims: tuple[str, ...]


_HEADLINES = {
    CauseKind.REFUTED: "Fix what {subject} found",
    CauseKind.HARNESS_ERROR: "Repair the harness under {subject}",
    CauseKind.UNDECIDED: "Let {subject} reach a verdict",
    CauseKind.MUTANT_SURVIVED: "Sharpen the clause that let the mutant {subject} live",
    CauseKind.NO_HISTORY: "Keep the histories of {subject} with the run",
    CauseKind.CHECKER_UNPROVEN: "Show that the checker {subject} catches its planted defects",
    CauseKind.TOO_FEW_SAMPLES: "Give {subject} more samples",
    CauseKind.RETRIED: "Find out why {subject} needed a retry",
    CauseKind.WEAKER_STACK: "Run on the {subject} stack: make readiness STACK={subject}",
    CauseKind.SKIPPED: "Give {subject} what it was skipped for",
    CauseKind.NOT_SELECTED: "Run the whole suite: make readiness",
    CauseKind.NOTHING_RAN: "Run the suite: make readiness",
    CauseKind.NO_CLAUSE_NOR_STACK: "Write clauses for the {subject} stack, and run them there",
    CauseKind.NO_CLAUSE: "Exercise {subject}: no clause that ran cites {which}",
}
_DETAILS = {
    CauseKind.WEAKER_STACK: "The stack of this run cannot prove {count}.",
    CauseKind.NO_CLAUSE_NOR_STACK: "No clause cites {count} that the stack of this run could not prove anyway.",
    CauseKind.NOT_SELECTED: "The clauses of {count} were not selected.",
    CauseKind.NOTHING_RAN: "Nothing was executed. The stack of this run can prove {count}.",
}
# What is known to be wrong comes first, whatever it weighs, and an empty run is run before anything else.
_URGENT = {CauseKind.REFUTED: 0, CauseKind.HARNESS_ERROR: 1, CauseKind.NOTHING_RAN: 2}


def remedies(score: Score) -> tuple[Remedy, ...]:
    """Every remedy: refutations first, then the most points first."""
    groups: dict[tuple[CauseKind, str], list[ClaimResult]] = {}
    for result in score.claims():
        if result.cause is not None:
            groups.setdefault((result.cause.kind, result.cause.subject), []).append(result)
    ranked = []
    for (kind, _), results in groups.items():
        remedy = _remedy(score, results)
        ranked.append((_URGENT.get(kind, 3), -remedy.points, remedy.headline, remedy))
    return tuple(entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:3]))


def _remedy(score: Score, results: list[ClaimResult]) -> Remedy:
    cause = next((result.cause for result in results if result.cause and result.cause.remedy), results[0].cause)
    if cause is None:
        raise ValueError("a claim without a cause needs no remedy")
    claims = tuple(result.claim.id for result in results)
    which = f"{claims[0]} to {claims[-1]}" if len(claims) > 2 else " and ".join(claims)
    headline = _HEADLINES[cause.kind].format(subject=cause.subject, which=which)
    return Remedy(headline, _detail(cause, results), _gain(score, set(claims)), claims)


def _detail(cause: Cause, results: list[ClaimResult]) -> str:
    if cause.remedy:
        return cause.remedy
    if cause.kind in _DETAILS:
        return _DETAILS[cause.kind].format(count=count(len(results), "claim"))
    if cause.kind is CauseKind.NO_CLAUSE:
        more = f" (and {len(results) - 1} more)" if len(results) > 1 else ""
        return f"{results[0].claim.id}: {results[0].claim.text}{more}"
    return results[0].reason


def _gain(score: Score, claims: set[str]) -> Fraction:
    """Points the score would gain if exactly these claims were proven."""
    gain = Fraction(0)
    for criterion in score.criteria:
        if not any(result.claim.id in claims for result in criterion.claims):
            continue
        states = [State.PROVEN if r.claim.id in claims else r.state for r in criterion.claims]
        earned = [Fraction(1) if r.claim.id in claims else r.earned for r in criterion.claims]
        gain += criterion_points(criterion.criterion.weight, states, earned) - criterion.points
    return gain
