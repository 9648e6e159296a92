"""Pytest's part: a clause for each scenario of the schedule, as often as it is to be run."""

from pathlib import Path

import pytest

from chaos.scenarios.table import PROFILES, Scenario, chosen, read_table
from chaos.schedule import SCHEDULE_FILE, Schedule, make_schedule, read_schedule

DEFAULT_SEED = 1
LONGEST_SECONDS = {"smoke": 600.0, "standard": 600.0, "soak": 3 * 3600.0}
"""How long a scenario may take, by its profile."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option the runner passes; the schedule it leaves in the run directory."""
    parser.addoption("--chaos-runs", type=int, default=1, help="how often each scenario is run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A case for each scenario and run."""
    if "scenario" not in metafunc.fixturenames:
        return
    schedule, runs = _schedule(metafunc.config), metafunc.config.getoption("--chaos-runs")
    table = {scenario.name: scenario for scenario in read_table()}
    cases = [
        pytest.param(table[name], run, marks=_marks(table[name]), id=name if runs == 1 else f"{name}/run_{run}")
        for name in schedule.scenarios
        for run in range(1, runs + 1)
    ]
    metafunc.parametrize(("scenario", "run"), cases)


@pytest.fixture(scope="session")
def schedule(request: pytest.FixtureRequest) -> Schedule:
    """Which fault comes when."""
    return _schedule(request.config)


def _schedule(config: pytest.Config) -> Schedule:
    run_directory: Path | None = config.getoption("--k2-run-dir")
    if run_directory is not None and (run_directory / SCHEDULE_FILE).exists():
        return read_schedule(run_directory / SCHEDULE_FILE)
    return make_schedule(chosen(read_table(), PROFILES[-1]), DEFAULT_SEED)


def _marks(scenario: Scenario) -> list[pytest.MarkDecorator]:
    clause = pytest.mark.clause(
        name="chaos",
        claims=scenario.claims,
        checker="facts" if scenario.is_harmless else "chaos",
        title=scenario.title,
        minimum_samples=1 if scenario.is_harmless else scenario.workload.records // 3,
        remedy="timelines/ beside the histories shows what happened when; docs/chaos.md says how to replay it",
    )
    return [clause, pytest.mark.timeout(LONGEST_SECONDS[scenario.profile])]
