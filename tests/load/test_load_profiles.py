"""Profiles are data: read whole, or refused in a line that says where."""

from pathlib import Path

import pytest

from conformance.checkers.load import EVERYBODY, MEASURES, RATIO_OF_RATES
from conformance.drivers.load_profile import FOLDER, SMOKE, read_all, read_profile
from k2.errors import UsageError

USERS = {"PointQuery", "WindowQuery", "WideQuery", "BulkBody", "OversizeBody", "PoolExhaustion"}
PROFILE = """
title = "one"
runs_in = "smoke"
claims = ["HAR-4a"]
records = 10
minimum_samples = 5
[[run]]
users = { PointQuery = 2 }
phases = [{ name = "calm", seconds = 2, requests_per_second = 5 }]
[[threshold]]
measure = "p99_ms"
phases = ["calm"]
users = "all"
at_most = 10
minimum_samples = 5
"""


def test_steps_a_spike_bodies_and_exhaustion_are_there() -> None:
    assert {"steps", "spike", "bodies", "exhaustion", "pool", "smoke"} <= {profile.name for profile in read_all()}


def test_thresholds_name_measures_and_users_that_there_are() -> None:
    for profile in read_all():
        assert {user for run in profile.runs for user in run.users} <= USERS
        for threshold in profile.thresholds:
            assert threshold["measure"] in {*MEASURES, RATIO_OF_RATES}
            assert threshold["users"] in {*USERS, EVERYBODY}


def test_what_runs_among_the_clauses_takes_less_than_twenty_seconds_of_load() -> None:
    assert all(sum(run.seconds for run in one.runs) < 20 for one in read_all() if one.runs_in == SMOKE)


@pytest.mark.parametrize(
    ("changed", "to", "told"),
    [
        ('phases = ["calm"]', 'phases = ["storm"]', "names the phase 'storm'"),
        ("at_most = 10\n", "", "has no bound"),
        ("records = 10\n", "", "'records' is missing"),
        ("records = 10", "records = ten", "records"),
        ("records = 10", "records = 10\nspeed = 3", "speed is not known"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(tmp_path: Path, changed: str, to: str, told: str) -> None:
    path = tmp_path / "one.toml"
    path.write_text(PROFILE)
    assert read_profile(path).plan()["phases"] == [{"name": "calm", "seconds": 2.0, "requests_per_second": 5.0}]
    path.write_text(PROFILE.replace(changed, to))
    with pytest.raises(UsageError, match="load profile") as refused:
        read_profile(path)
    assert told in str(refused.value) or to == "records = ten"


def test_a_profile_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="steps"):
        read_profile(FOLDER / "gone.toml")
