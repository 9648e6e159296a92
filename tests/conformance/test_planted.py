"""Every checker catches what is planted for it and keeps silent on what is clean, and its kill rate is written down."""

from pathlib import Path

import orjson
import pytest

from conformance.checkers.registry import CHECKERS
from conformance.checkers.verdict import Outcome, Verdict, conclude, run_checker, unknown
from conformance.history import History, HistoryWriter
from conformance.planted import Defect, Suite, run_all, run_suite, write_checkers
from conformance.planted.run import CLEAN_SEEDS, SUITES, catches

CASES = [
    pytest.param(suite, defect, id=f"{suite.checker}-{defect.name}") for suite in SUITES for defect in suite.defects
]
FEWEST_DEFECTS = {"provenance": 10}


@pytest.mark.parametrize(("suite", "defect"), CASES)
def test_a_planted_defect_is_caught_as_what_it_is(suite: Suite, defect: Defect) -> None:
    verdict = run_checker(CHECKERS[suite.checker], defect.plant(suite.clean(CLEAN_SEEDS[0])))
    assert catches(defect, verdict), f"{verdict.outcome}: {verdict.reason}"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.checker)
@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_a_clean_history_passes(suite: Suite, seed: int) -> None:
    verdict = run_checker(CHECKERS[suite.checker], suite.clean(seed))
    assert verdict.outcome is Outcome.PASS, verdict.reason


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.checker)
def test_planting_changes_a_copy(suite: Suite) -> None:
    clean = suite.clean(1)
    before = contents(clean)
    planted = [contents(defect.plant(clean)) for defect in suite.defects]
    assert contents(clean) == before
    assert all(after != before for after in planted)


def contents(history: History) -> tuple[object, ...]:
    observations = [(one.stage, one.data_type, one.table.to_pydict()) for one in history.observations]
    return history.header, history.operations, observations


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.checker)
def test_clean_histories_of_different_seeds_are_different(suite: Suite) -> None:
    assert contents(suite.clean(1))[1:] != contents(suite.clean(2))[1:]
    assert contents(suite.clean(1)) == contents(suite.clean(1))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.checker)
def test_a_clean_history_passes_after_its_journey_through_files(suite: Suite, tmp_path: Path) -> None:
    clean = suite.clean(2)
    with HistoryWriter(tmp_path / "run", clean.header) as writer:
        for observation in clean.observations:
            writer.observe(observation.stage, observation.table, observation.data_type)
        for one in clean.operations:
            writer.operation(
                one.process,
                one.action,
                one.outcome,
                invoked_monotonic_ns=one.invoked_monotonic_ns,
                completed_monotonic_ns=one.completed_monotonic_ns,
                attributes=one.attributes,
            )
    read = History.read(tmp_path / "run")
    assert read.header == clean.header
    assert [one.table for one in read.observations] == [one.table for one in clean.observations]
    # Answers are judged by wall-clock times, which the writer takes from its own clock.
    timed = History(read.header, clean.operations, read.observations, read.complete)
    assert run_checker(CHECKERS[suite.checker], timed).outcome is Outcome.PASS


def test_every_checker_has_a_suite_with_enough_defects() -> None:
    assert {suite.checker for suite in SUITES} == set(CHECKERS)
    for suite in SUITES:
        names = [defect.name for defect in suite.defects]
        assert len(names) >= FEWEST_DEFECTS.get(suite.checker, 5)
        assert len(set(names)) == len(names)


def test_all_checkers_catch_everything_and_raise_no_false_alarm() -> None:
    results = run_all(seeds=(1, 2, 3))
    assert [(result.missed, result.false_alarms) for result in results] == [((), 0)] * len(SUITES)
    assert {result.clean_runs for result in results} == {3}


def blind(_: History) -> Verdict:
    return conclude(1_000_000, [], "everything is fine")


def wolf(_: History) -> Verdict:
    return unknown("wolf", "there is always something")


def test_a_checker_that_sees_nothing_misses_everything() -> None:
    result = run_suite(SUITES[0], checker=blind)
    assert (result.caught, len(result.missed), result.false_alarms) == (0, len(SUITES[0].defects), 0)


def test_a_checker_that_cries_wolf_catches_nothing_and_raises_alarms() -> None:
    result = run_suite(SUITES[1], checker=wolf)
    assert (result.caught, result.false_alarms) == (0, result.clean_runs)


def test_a_failure_of_another_kind_catches_nothing() -> None:
    defect = SUITES[0].defects[0]
    other = CHECKERS["provenance"](SUITES[0].defects[-5].plant(SUITES[0].clean(1)))
    assert other.outcome is not Outcome.PASS
    assert not catches(defect, other)


def test_results_are_written_one_line_a_checker(tmp_path: Path) -> None:
    write_checkers(tmp_path / "checkers.jsonl")
    lines = [orjson.loads(line) for line in (tmp_path / "checkers.jsonl").read_bytes().splitlines()]
    assert [line["checker"] for line in lines] == [suite.checker for suite in SUITES]
    for line in lines:
        assert set(line) == {"checker", "planted", "caught", "missed", "clean_runs", "false_alarms"}
        assert line["caught"] == line["planted"]
