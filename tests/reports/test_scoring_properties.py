"""What holds of every score, over generated evidence."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from reports.readiness.card import Assessment, document
from reports.readiness.evidence import CheckerRecord, ClauseVerdict, Evidence, MutantRecord, MutantVerdict, Verdict
from reports.readiness.registry import Stack
from reports.readiness.remedies import remedies
from reports.readiness.scoring import Score, State, round_down, score
from tests.reports.crafted_run import CLAIM_IDS, REGISTRY, RUBRIC

CHECKERS = {
    "sound": CheckerRecord("sound", planted=3, caught=3, missed=(), clean_runs=1, false_alarms=0),
    "blind": CheckerRecord("blind", planted=3, caught=2, missed=("one",), clean_runs=1, false_alarms=0),
}


def clause(name: str, claims: tuple[str, ...], verdict: Verdict = Verdict.PASS) -> ClauseVerdict:
    return ClauseVerdict(
        clause=name,
        title="",
        claims=claims,
        verdict=verdict,
        reason="",
        samples=1_000,
        minimum_samples=1,
        stack=Stack.EXTERNAL,
        seconds=0.1,
        checker="sound",
    )


CLAUSES = st.builds(
    ClauseVerdict,
    clause=st.sampled_from(["kill", "kill/a", "kill/b", "stop", "query"]),
    title=st.just(""),
    claims=st.lists(st.sampled_from(CLAIM_IDS), min_size=1, max_size=12, unique=True).map(tuple),
    verdict=st.sampled_from(Verdict),
    reason=st.sampled_from(["", "harness error: no port"]),
    samples=st.sampled_from([0, 50, 1_000]),
    minimum_samples=st.sampled_from([1, 100]),
    stack=st.sampled_from(Stack),
    seconds=st.just(0.1),
    checker=st.sampled_from(["sound", "blind", "unheard of", None]),
    retries=st.sampled_from([0, 1]),
)
MUTANTS = st.builds(
    MutantRecord,
    mutant=st.just("trusting"),
    clause=st.sampled_from(["kill", "stop", "none"]),
    verdict=st.sampled_from(MutantVerdict),
    reason=st.just("so it was"),
)
EVIDENCE = st.builds(
    Evidence,
    run=st.none(),
    clauses=st.lists(CLAUSES, max_size=25).map(tuple),
    checkers=st.just(CHECKERS),
    mutants=st.lists(MUTANTS, max_size=2).map(tuple),
)


def scored(evidence: Evidence) -> Score:
    return score(REGISTRY, RUBRIC, evidence)


def with_clause(evidence: Evidence, added: ClauseVerdict) -> Evidence:
    return replace(evidence, clauses=(*evidence.clauses, added))


@settings(max_examples=40)
@given(EVIDENCE)
def test_the_score_is_the_sum_of_its_criteria_and_lies_between_0_and_100(evidence: Evidence) -> None:
    result = scored(evidence)
    assert result.points == sum((criterion.points for criterion in result.criteria), Fraction(0))
    assert 0 <= result.points <= 100
    for criterion in result.criteria:
        assert 0 <= criterion.points <= Fraction(criterion.criterion.weight)


@settings(max_examples=40)
@given(EVIDENCE, st.sampled_from(CLAIM_IDS))
def test_proving_more_never_lowers_the_score(evidence: Evidence, claim: str) -> None:
    more = with_clause(evidence, clause("one_more_proof", (claim,)))
    assert scored(more).points >= scored(evidence).points


@settings(max_examples=40)
@given(EVIDENCE, st.sampled_from(CLAIM_IDS), st.sampled_from([Verdict.FAIL, Verdict.UNKNOWN]))
def test_failing_and_not_knowing_never_raise_the_score(evidence: Evidence, claim: str, verdict: Verdict) -> None:
    worse = with_clause(evidence, clause("one_more_doubt", (claim,), verdict))
    assert scored(worse).points <= scored(evidence).points


@settings(max_examples=40)
@given(EVIDENCE)
def test_turning_a_pass_into_a_failure_never_raises_the_score(evidence: Evidence) -> None:
    before = scored(evidence).points
    for position, line in enumerate(evidence.clauses[:5]):
        clauses = list(evidence.clauses)
        clauses[position] = replace(line, verdict=Verdict.FAIL)
        assert scored(replace(evidence, clauses=tuple(clauses))).points <= before


@settings(max_examples=40)
@given(EVIDENCE)
def test_only_proven_claims_earn(evidence: Evidence) -> None:
    for criterion in scored(evidence).criteria:
        proven = sum(claim.state is State.PROVEN for claim in criterion.claims)
        most = Fraction(criterion.criterion.weight) * proven / len(criterion.claims)
        assert criterion.points <= most
        for claim in criterion.claims:
            assert (claim.earned > 0) == (claim.state is State.PROVEN)
            assert claim.reason


@settings(max_examples=40)
@given(EVIDENCE)
def test_removing_a_checkers_evidence_never_raises_the_score(evidence: Evidence) -> None:
    assert scored(replace(evidence, checkers={})).points <= scored(evidence).points
    assert scored(replace(evidence, checkers={})).points == 0


@settings(max_examples=40)
@given(EVIDENCE)
def test_every_claim_that_does_not_earn_in_full_has_a_remedy_worth_no_more_than_is_missing(evidence: Evidence) -> None:
    result = scored(evidence)
    promised = remedies(result)
    assert all(0 <= remedy.points <= 100 - result.points for remedy in promised)
    named = {claim for remedy in promised for claim in remedy.claims}
    assert named == {claim.claim.id for claim in result.claims() if claim.earned != 1}


@settings(max_examples=25)
@given(EVIDENCE)
def test_the_card_accounts_for_every_point_and_every_claim(evidence: Evidence) -> None:
    result = scored(evidence)
    card = document(Assessment(REGISTRY, RUBRIC, evidence, result, remedies(result)))
    assert card.score == float(round_down(result.points, 1))
    counts = card.counts
    assert counts.proven + counts.failed + counts.unknown + counts.not_exercised == len(CLAIM_IDS)
    assert sum(absence.claims for absence in card.absences) == counts.not_exercised
    for stage in card.stages:
        accounted = stage.earned + stage.failed + stage.unknown + stage.not_exercised
        assert abs(accounted - stage.points) < 0.001
