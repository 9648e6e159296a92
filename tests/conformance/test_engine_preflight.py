"""An engine that does not suit is refused in one line that says what is missing and what to do."""

import dataclasses

import pytest

from conformance.stacks.containers.preflight import (
    GIBIBYTE,
    TO_BUILD,
    TO_RUN,
    TO_USE,
    EngineFacts,
    Needs,
    refusals,
    version_numbers,
)

GOOD = EngineFacts(
    version="20.10.24",
    api_version="1.41",
    operating_system="linux",
    memory_bytes=16 * GIBIBYTE,
    available_memory_bytes=12 * GIBIBYTE,
    data_directory="/var/lib/docker",
    free_disk_bytes=50 * GIBIBYTE,
)


@pytest.mark.parametrize("needs", [TO_USE, TO_BUILD, TO_RUN])
def test_an_engine_with_room_suits(needs: Needs) -> None:
    assert refusals(GOOD, needs) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"version": "19.03.5", "api_version": "1.40"},
            "Docker engine 19.03.5 speaks API 1.40, 1.41 is needed: install",
        ),
        ({"operating_system": "windows"}, "the engine runs windows containers: switch it to Linux containers"),
        (
            {"available_memory_bytes": 3 * GIBIBYTE},
            "3.0 GiB of memory free, 6.0 GiB needed to run the container stack: end other programs",
        ),
        (
            {"free_disk_bytes": GIBIBYTE // 2},
            "0.5 GiB of disk free at /var/lib/docker, 4.0 GiB needed to run the container stack: free some",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(change: dict[str, object], said: str) -> None:
    (line,) = refusals(dataclasses.replace(GOOD, **change), TO_RUN)  # type: ignore[arg-type]
    assert line.startswith(said)
    assert "\n" not in line


def test_everything_that_is_missing_is_said_at_once() -> None:
    poor = dataclasses.replace(GOOD, api_version="1.24", available_memory_bytes=0, free_disk_bytes=0)
    assert len(refusals(poor, TO_BUILD)) == 3


def test_what_cannot_be_known_of_another_machine_is_not_held_against_it() -> None:
    remote = dataclasses.replace(GOOD, available_memory_bytes=None, free_disk_bytes=None)
    assert refusals(remote, TO_RUN) == ()


def test_a_remote_machine_that_is_too_small_as_a_whole_is_refused() -> None:
    small = dataclasses.replace(GOOD, available_memory_bytes=None, free_disk_bytes=None, memory_bytes=2 * GIBIBYTE)
    assert len(refusals(small, TO_RUN)) == 1


@pytest.mark.parametrize(
    ("version", "numbers"), [("1.41", (1, 41)), ("1.9", (1, 9)), ("20.10.24+dfsg1", (20, 10)), ("", ())]
)
def test_versions_are_compared_by_number(version: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(version) == numbers
    assert version_numbers("1.9") < version_numbers("1.41")
