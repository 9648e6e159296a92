"""Load on the API, and thresholds that are data.

The load profiles in load/profiles MUST run against their thresholds, with as many samples as each asks for, and MUST
fail when one is broken (HAR-4). What several connections bring MUST be measured and be what is stated (POOL-3).
Profiles of `runs_in = "smoke"` are run here always, all of them with PROFILE=full, by `python -m load run` and by
`tox -e load`.
"""

from pathlib import Path

import pytest

from conformance.checkers.load import MEASURES, Requests, check, described, is_generator_late, measured
from conformance.checkers.verdict import Outcome, run_checker
from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.load import feed_trades, run_profile
from conformance.drivers.load_profile import FULL, Profile, read_all
from conformance.history import History
from conformance.planted.suite import with_parameters
from conformance.stacks.base import Stack

pytestmark = pytest.mark.alone
REMEDY = "pictures/ of the run (python -m load draw RUN) shows latency, pool and errors on one clock; see docs/load.md"


def cases() -> list[object]:
    """A case for each profile."""
    return [
        pytest.param(
            profile,
            id=profile.name,
            marks=[
                pytest.mark.timeout(600),
                pytest.mark.clause(
                    name="load",
                    claims=profile.claims,
                    checker="load",
                    title=profile.title,
                    minimum_samples=profile.minimum_samples,
                    remedy=REMEDY,
                ),
                *([pytest.mark.full_profile] if profile.runs_in == FULL else []),
            ],
        )
        for profile in read_all()
    ]


@pytest.mark.parametrize("profile", cases())
def test_the_load_is_within_its_thresholds(stack: Stack, clause: ClauseRun, tmp_path: Path, profile: Profile) -> None:
    feed_trades(stack, profile.records)
    with clause.history(seed=41, **profile.plan()) as history:
        run_profile(stack, profile, history, tmp_path)
    judged = History.read(clause.history_path)
    if profile.name == "smoke":
        show_that_it_can_fail(clause, judged)
    requests = Requests.of(judged)
    for threshold in judged.header.parameters["thresholds"]:
        value, samples = measured(judged, requests, threshold)
        clause.note(f"{described(threshold, value)} ({samples} requests)")
    clause.judge()


def show_that_it_can_fail(clause: ClauseRun, judged: History) -> None:
    """The same requests under each threshold made impossible: the verdict must be a failure, and of that threshold."""
    broken = clause.part(
        "load/broken_thresholds", ("HAR-4a",), "facts", "The same load fails under each threshold that it breaks", 3
    )
    is_late = is_generator_late(Requests.of(judged))
    with broken.history() as history:
        for number, threshold in enumerate(judged.header.parameters["thresholds"]):
            changed = {name: value for name, value in threshold.items() if name not in ("at_most", "at_least")}
            is_a_time = threshold["measure"].endswith("_ms")
            if is_a_time and is_late:
                continue
            worse = {"at_most": 0.0001} if is_a_time else {"at_least": 1e9}
            verdict = run_checker(check, with_parameters(judged, thresholds=[{**changed, **worse}]))
            name = f"{number}: {threshold['measure']} of {threshold['users']} under a threshold nothing can meet"
            record_fact(history, name, Outcome.FAIL.value, lambda v=verdict: v.outcome.value)
        record_fact(history, "a measure nobody knows", Outcome.UNKNOWN.value, unknown_measure, judged)
        record_fact(history, "measures there are", 5, lambda: len(MEASURES))
    broken.judge()


def unknown_measure(judged: History) -> str:
    """The verdict where a threshold asks for what is not measured."""
    threshold = {**judged.header.parameters["thresholds"][0], "measure": "p101_ms"}
    return run_checker(check, with_parameters(judged, thresholds=[threshold])).outcome.value
