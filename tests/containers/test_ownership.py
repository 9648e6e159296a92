"""Whose containers are whose: a living owner's are never anybody else's to remove."""

import dataclasses
import subprocess
import sys

import psutil
import pytest

from conformance.stacks.containers.ownership import (
    OWNER_LABEL,
    RUN_LABEL,
    Owner,
    orphaned_runs,
    owner_from,
    run_labels,
    this_process,
)


@pytest.fixture
def ended() -> Owner:
    """A process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        created_at = psutil.Process(process.pid).create_time()
        process.kill()
        process.wait()
    return Owner(this_process().machine, process.pid, created_at)


def test_a_label_says_who_it_was() -> None:
    assert owner_from(this_process().label()) == this_process()
    assert this_process().has_ended() is False


def test_a_killed_owner_has_ended(ended: Owner) -> None:
    assert ended.has_ended()


def test_a_process_that_got_the_number_anew_is_another() -> None:
    earlier = dataclasses.replace(this_process(), created_at=this_process().created_at - 1.0)
    assert earlier.has_ended()


def test_of_another_machine_nobody_knows(ended: Owner) -> None:
    assert not dataclasses.replace(ended, machine="another").has_ended()


def test_only_runs_whose_owner_has_ended_are_orphans(ended: Owner) -> None:
    labels = [
        run_labels("mine"),
        {RUN_LABEL: "left", OWNER_LABEL: ended.label()},
        {RUN_LABEL: "odd", OWNER_LABEL: "nobody"},
        {RUN_LABEL: "without"},
        {OWNER_LABEL: ended.label()},
    ]
    assert orphaned_runs(labels) == {"left"}
