"""What holds of every score, over generated evidence."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from reports.readiness.assessment import judged
from reports.readiness.card import document
from reports.readiness.evidence import Evidence, Exhibit, Verdict
from reports.readiness.registry import Need, Stack
from reports.readiness.remedies import remedies
from reports.readiness.scoring import Score, State, round_down, score
from tests.reports.crafted_run import CLAIM_IDS, REGISTRY, RUBRIC, RULER, TODAY
from tests.reports.generated_evidence import EVIDENCE, clause


def scored(evidence: Evidence) -> Score:
    return score(REGISTRY, RUBRIC, evidence)


def with_clause(evidence: Evidence, added: Exhibit) -> Evidence:
    return replace(evidence, exhibits=(*evidence.exhibits, added))


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
    for position, exhibit in enumerate(evidence.exhibits[:5]):
        exhibits = list(evidence.exhibits)
        exhibits[position] = replace(exhibit, line=replace(exhibit.line, verdict=Verdict.FAIL))
        assert scored(replace(evidence, exhibits=tuple(exhibits))).points <= before


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
    card = document(judged(evidence, RULER, TODAY))
    assert card.score == float(round_down(result.points, 1))
    counts = card.counts
    assert counts.proven + counts.failed + counts.unknown + counts.not_exercised == len(CLAIM_IDS)
    assert sum(absence.claims for absence in card.absences) == counts.not_exercised
    for stage in card.stages:
        accounted = stage.earned + stage.failed + stage.unknown + stage.not_exercised
        assert abs(accounted - stage.points) < 0.001


@settings(max_examples=40)
@given(EVIDENCE)
def test_skipped_unknown_and_mocked_evidence_earns_nothing(evidence: Evidence) -> None:
    """Mocked is what the embedded stack shows of a claim that needs real servers, and what no history backs."""
    needs = {claim.id: claim.needs for claim in REGISTRY.claims()}
    worthless = tuple(
        exhibit
        for exhibit in evidence.exhibits
        if exhibit.line.verdict is not Verdict.PASS
        or exhibit.gap
        or exhibit.line.checker != "sound"
        or (all(needs[claim] is not Need.ANY for claim in exhibit.line.claims) and exhibit.line.stack is Stack.EMBEDDED)
    )
    skipped = dict.fromkeys(CLAIM_IDS, "its server is not here")
    assert scored(replace(evidence, exhibits=worthless, skipped=skipped)).points == 0


@settings(max_examples=25)
@given(EVIDENCE)
def test_every_id_of_the_registry_is_on_the_card_with_its_true_state(evidence: Evidence) -> None:
    result = {claim.claim.id: claim for claim in scored(evidence).claims()}
    card = document(judged(evidence, RULER, TODAY))
    shown = {claim.id: claim for criterion in card.criteria for claim in criterion.claims}
    assert tuple(shown) == CLAIM_IDS
    assert [criterion.id for criterion in card.criteria] == [requirement.id for requirement in REGISTRY.requirement]
    for identifier, claim in shown.items():
        assert claim.state == result[identifier].state
        cited = [card.clauses[position] for position in claim.evidence]
        assert all(identifier in line.claims for line in cited)
        if any(line.verdict == "fail" for line in cited):
            assert claim.state == "failed"
        elif any(line.verdict == "unknown" for line in cited):
            assert claim.state == "unknown"
        elif not cited:
            assert claim.state == "not exercised"


@settings(max_examples=25)
@given(EVIDENCE)
def test_what_all_stacks_show_is_never_better_than_what_one_of_them_shows_to_fail(evidence: Evidence) -> None:
    assessment = judged(evidence, RULER, TODAY)
    together = {claim.claim.id: claim for claim in assessment.score.claims()}
    for alone in assessment.scores_by_stack().values():
        for claim in alone.claims():
            if claim.state is State.FAILED:
                assert together[claim.claim.id].state is State.FAILED
