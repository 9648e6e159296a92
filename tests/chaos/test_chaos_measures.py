"""Recovery, availability and dip, by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conformance.checkers.chaos_measures import SECOND_NS, Progress, measure, recovered_at
from conformance.history import Header, History, Observation, Operation, OperationOutcome


def progress(*seconds: float, amount: int = 10) -> Progress:
    return Progress(np.array([int(s * SECOND_NS) for s in seconds]), np.full(len(seconds), amount))


def fault(injected: float, healed: float, acknowledged: int) -> dict[str, Any]:
    return {
        "fault": "down",
        "target": "kafka-1",
        "injected_wall_ns": int(injected * SECOND_NS),
        "healing_wall_ns": int(healed * SECOND_NS),
        "healed_wall_ns": int(healed * SECOND_NS),
        "acknowledged_before_healing": acknowledged,
    }


@pytest.mark.parametrize(
    ("seconds", "share"),
    [((0.1, 1.5, 2.9, 3.0), 1.0), ((0.1, 0.2, 3.9), 0.5), ((), 0.0), ((4.0, 5.0), 0.0), ((-0.5, 2.2), 0.25)],
)
def test_availability_is_the_share_of_seconds_with_something_done(seconds: tuple[float, ...], share: float) -> None:
    assert progress(*seconds).availability(0, 4 * SECOND_NS) == share


def test_less_than_a_second_has_no_availability() -> None:
    assert progress(0.1).availability(0, SECOND_NS - 1) is None


def test_the_longest_pause_counts_from_the_first_moment_to_the_last() -> None:
    assert progress(1.0, 1.5, 4.0).longest_pause(0, 5 * SECOND_NS) == int(2.5 * SECOND_NS)
    assert progress(3.0).longest_pause(0, 4 * SECOND_NS) == 3 * SECOND_NS
    assert progress().longest_pause(0, 4 * SECOND_NS) == 4 * SECOND_NS


def test_a_rate_needs_time() -> None:
    assert progress(0.1, 0.2, 1.9).rate(0, 2 * SECOND_NS) == 15.0
    assert progress(0.1).rate(5, 5) is None


def test_all_is_as_before_once_the_table_has_what_was_acknowledged_and_records_are_again() -> None:
    totals = [(2 * SECOND_NS, 50), (11 * SECOND_NS, 80), (13 * SECOND_NS, 100), (14 * SECOND_NS, 200)]
    assert recovered_at(fault(5, 10, 90), progress(1, 12), totals) == 13 * SECOND_NS
    assert recovered_at(fault(5, 10, 90), progress(1, 13.5), totals) == int(13.5 * SECOND_NS)
    assert recovered_at(fault(5, 10, 300), progress(1, 12), totals) is None
    assert recovered_at(fault(5, 10, 90), progress(1, 9), totals) is None


def history(*faults: dict[str, Any]) -> History:
    at = [0.5, 1.5, 2.5, 3.5, 4.5, 9.5, 10.5, 11.5]
    acknowledgements = pa.table({"wall_ns": [int(s * SECOND_NS) for s in at], "records": [100] * len(at)})
    snapshots = [
        {
            "sequence_number": number,
            "committed_wall_ns": int(second * SECOND_NS),
            "progress": [{"topic": "t", "partition": 0, "next_offset": total}],
        }
        for number, (second, total) in enumerate([(1, 100), (2, 200), (3, 300), (4, 400), (11, 800)])
    ]
    measured = Operation("harness", "phase", OperationOutcome.OK, 0, 4 * SECOND_NS, 0, {"phase": "measure"})
    came = [Operation("harness", "fault", OperationOutcome.OK, 0, 0, 0, one) for one in faults]
    observations = (
        Observation("acknowledgements", acknowledgements),
        Observation("snapshots", pa.Table.from_pylist(snapshots)),
    )
    return History(Header("c", (), "chaos", 1, "embedded", 0), (measured, *came), observations)


def test_a_run_with_a_fault_is_measured_from_the_fault_to_the_recovery() -> None:
    found = measure(history(fault(4, 8, 500)))
    assert found.acknowledged == 800
    assert found.recovery_seconds == 3.0
    # From second 4 to second 11: records in 4, 9 and 10, and in the table at 4.
    assert found.produce_availability == pytest.approx(3 / 7)
    assert found.commit_availability == pytest.approx(1 / 7)
    # A hundred a second before; a hundred in four seconds while it lasted.
    assert found.produce_dip == pytest.approx(0.75)
    assert found.commit_dip == pytest.approx(0.6667, abs=1e-4)


def test_one_fault_that_nobody_recovered_from_is_no_recovery() -> None:
    assert measure(history(fault(1, 2, 100), fault(4, 8, 9_000))).recovery_seconds is None


def test_a_run_without_a_fault_is_measured_as_it_was() -> None:
    found = measure(history())
    assert (found.recovery_seconds, found.produce_availability, found.produce_dip) == (None, 1.0, None)
