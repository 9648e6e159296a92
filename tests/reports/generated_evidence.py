"""Evidence of every kind, for properties that hold of all of it."""

from hypothesis import strategies as st

from reports.readiness.evidence import (
    CheckerRecord,
    ClauseVerdict,
    Evidence,
    Exhibit,
    MutantRecord,
    MutantVerdict,
    Verdict,
)
from reports.readiness.registry import Stack
from tests.reports.crafted_run import CLAIM_IDS

CHECKERS = {
    "sound": CheckerRecord("sound", planted=3, caught=3, missed=(), clean_runs=1, false_alarms=0),
    "blind": CheckerRecord("blind", planted=3, caught=2, missed=("one",), clean_runs=1, false_alarms=0),
}


def clause(name: str, claims: tuple[str, ...], verdict: Verdict = Verdict.PASS) -> Exhibit:
    line = ClauseVerdict(
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
    return Exhibit(line)


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
EXHIBITS = st.builds(Exhibit, line=CLAUSES, gap=st.sampled_from(["", "its history is not there"]))
MUTANTS = st.builds(
    MutantRecord,
    mutant=st.just("trusting"),
    clause=st.sampled_from(["kill", "stop", "none"]),
    verdict=st.sampled_from(MutantVerdict),
    reason=st.just("so it was"),
)
EVIDENCE = st.builds(
    Evidence,
    exhibits=st.lists(EXHIBITS, max_size=25).map(tuple),
    checkers=st.just(CHECKERS),
    mutants=st.lists(MUTANTS, max_size=2).map(tuple),
)
