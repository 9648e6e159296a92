"""Schedules: a function of scenarios and seed, kept as files, usable in part."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.scenarios.table import Scenario, read_table
from chaos.schedule import Schedule, make_schedule, read_schedule
from k2.errors import UsageError

TABLE = read_table()
SEEDS = st.integers(0, 2**63)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_same_seed_makes_the_same_schedule(seed: int) -> None:
    assert make_schedule(TABLE, seed) == make_schedule(read_table(), seed)


@given(SEEDS, st.lists(st.sampled_from(TABLE), min_size=1, unique_by=lambda row: row.name))
@settings(max_examples=25, deadline=None)
def test_what_a_scenario_gets_does_not_depend_on_the_others(seed: int, some: list[Scenario]) -> None:
    whole, part = make_schedule(TABLE, seed), make_schedule(some, seed)
    assert all(part.of(scenario.name) == whole.of(scenario.name) for scenario in some)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_every_entry_lies_within_the_timing_of_its_row(seed: int) -> None:
    schedule = make_schedule(TABLE, seed)
    for scenario in TABLE:
        entries = schedule.of(scenario.name)
        assert len(entries) == sum(timing.times for _, _, timing in scenario.faults)
        for _, _, timing in scenario.faults:
            first = min((one.at for one in entries if one.counter == timing.counter), default=0)
            assert first <= timing.at[1]
    bounds = [(timing.seconds, timing.at) for row in TABLE for _, _, timing in row.faults]
    assert min(low for (low, _), _ in bounds) <= min(entry.seconds for entry in schedule.entries)


def test_another_seed_makes_another_schedule() -> None:
    assert len({make_schedule(TABLE, seed).text() for seed in range(20)}) == 20


def test_a_schedule_comes_back_from_its_file(tmp_path: Path) -> None:
    schedule = make_schedule(TABLE, 7)
    schedule.write(tmp_path / "seven.json")
    assert read_schedule(tmp_path / "seven.json") == schedule


def test_entries_can_be_taken_out_line_by_line(tmp_path: Path) -> None:
    schedule = make_schedule(TABLE, 7)
    lines = schedule.text().splitlines()
    path = tmp_path / "fewer.json"
    path.write_text("\n".join([*lines[:3], lines[3].removesuffix(","), *lines[-1:]]))
    assert read_schedule(path).entries == schedule.entries[:3]
    assert read_schedule(path).of("soak") == ()


def entry(**changed: object) -> dict[str, object]:
    whole = {"scenario": "a", "fault": "down", "target": "kafka-1", "counter": "acknowledged", "at": 1, "seconds": 1.0}
    return {**whole, "parameters": {}, **changed}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"format": 2}, "format 2 is not 1"),
        ({"format": 1, "seed": 1, "scenarios": ["a"]}, "is no schedule"),
        ({"format": 1, "seed": 1, "scenarios": ["b"], "entries": [entry()]}, "not listed: a"),
        ({"format": 1, "seed": 1, "scenarios": ["a"], "entries": [entry(counter="minutes")]}, "counter 'minutes'"),
        ({"format": 1, "seed": 1, "scenarios": ["a"], "entries": [entry(at=-1)]}, "must not be negative"),
    ],
)
def test_a_file_that_is_no_schedule_is_refused(document: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=said):
        read_schedule(tmp_path / "x.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_schedule(tmp_path / "x.json")


def test_entries_come_in_the_order_of_their_counts() -> None:
    found = make_schedule(TABLE, 3).of("soak")
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert len(found) == 300
    assert len({(one.fault, one.target) for one in found}) > 30


def test_a_scenario_without_entries_is_run_without_a_fault() -> None:
    assert Schedule(1, ("baseline",), ()).of("baseline") == ()
