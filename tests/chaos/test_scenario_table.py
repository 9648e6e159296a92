"""The table of scenarios: what it must cover, and what it refuses."""

import tomllib
from pathlib import Path

import pytest

from chaos.scenarios.table import BASELINE, TABLE, chosen, read_table
from k2.errors import UsageError

SCENARIOS = read_table()
TOXICS = {"latency", "jitter", "bandwidth", "timeout", "reset_peer", "slicer", "limit_data", "down"}
DEPENDENCIES = {"kafka-1", "schema-registry-1", "postgres", "object-store", "redis"}


def on_containers(name: str) -> bool:
    return "containers" in next(one.stacks for one in SCENARIOS if one.name == name)


def test_every_toxic_meets_every_dependency() -> None:
    met = {
        (fault.kind, target)
        for scenario in SCENARIOS
        if not scenario.is_harmless and scenario.profile != "soak"
        for faults, targets, _ in scenario.faults
        for fault in faults
        for target in targets
    }
    assert {(toxic, place) for toxic in TOXICS for place in DEPENDENCIES} <= met


def test_forty_scenarios_and_more_run_on_servers_in_the_standard_profile() -> None:
    assert len([one for one in chosen(SCENARIOS, "standard") if on_containers(one.name)]) >= 40


def test_each_dependency_is_cut_in_turn() -> None:
    cut = {one.name for one in SCENARIOS if "RES-1b" in one.claims}
    assert cut == {"kafka_down", "registry_down", "postgres_down", "object_store_down"}


def test_every_claim_is_one_of_the_requirements() -> None:
    registry = tomllib.loads((Path(__file__).parents[2] / "conformance" / "requirements.toml").read_text())
    known = {claim["id"] for requirement in registry["requirement"] for claim in requirement["claims"]}
    assert {claim for one in SCENARIOS for claim in one.claims} <= known


def test_longer_profiles_run_all_that_shorter_ones_do() -> None:
    smoke, standard, soak = (
        {one.name for one in chosen(SCENARIOS, profile)} for profile in ("smoke", "standard", "soak")
    )
    assert smoke < standard < soak == {one.name for one in SCENARIOS}


@pytest.mark.parametrize("only", ["redis_timeout", "RES-1b", "HAR-3", "consumer_killed_after"])
def test_the_baseline_is_always_run(only: str) -> None:
    found = chosen(SCENARIOS, "smoke", only)
    assert found[0].name == BASELINE
    assert len(found) > 1


def test_what_nobody_is_called_is_refused() -> None:
    with pytest.raises(UsageError, match="no scenario is called nonsense"):
        chosen(SCENARIOS, "smoke", "nonsense")


def test_how_much_goes_on_is_said_in_a_word() -> None:
    words = {one.name: one.how_much_goes_on for one in SCENARIOS}
    assert (words["kafka_latency"], words["postgres_down"], words["kafka_down"]) == ("all", "some", "nothing")


CRAFTED = TABLE.read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "kafka_latency"', 'name = "kafka_jitter"', "more than one scenario is called kafka_jitter"),
        ('name = "baseline"', 'name = "first"', "the first scenario must be the baseline"),
        ('"latency on kafka, window"', '"lateness on kafka, window"', "scenario kafka_latency: KeyError.'lateness'"),
        ('"latency on kafka, window"', '"latency on kafka, soon"', "scenario kafka_latency: KeyError.'soon'"),
        ('stops = ["commit"]', 'stops = ["rest"]', "the workload does not rest"),
        ('profile = "soak"', 'profile = "weekly"', "scenario soak"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in CRAFTED
    path = tmp_path / "table.toml"
    path.write_text(CRAFTED.replace(old, new))
    with pytest.raises(UsageError, match=said):
        read_table(path)
