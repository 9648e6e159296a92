"""The checker's own reading of a log: by hand, and against the platform's state on logs of every kind."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.checkers import checkpoint
from conformance.checkers.checkpoint_model import KeyModel, Limits, PartitionModel
from conformance.checkers.sequence_model import Ruling
from conformance.checkers.verdict import Outcome, run_checker
from conformance.history import History, Observation
from conformance.planted.checkpoint import clean_checkpoint
from conformance.planted.suite import edit_stage, set_values, table_of, without_stage
from k2.ingestion.judging import PartitionState
from k2.ingestion.sequence_tracker import Knowledge
from k2.settings import SequenceSettings

SMALL = {
    "reset_highest_number": 3,
    "reset_lowest_distance": 12,
    "duplicate_window": 4,
    "max_open_ranges": 2,
    "max_keys": 3,
}
RANGES = ("open_ranges", "holes_before_first")


def key_after(*numbers: int, **limits: int) -> dict[str, Any]:
    first, *others = numbers
    model = KeyModel(first, Ruling(**limits), resets=True)
    for number in others:
        model.take(number)
    return model.fields()


def test_gaps_and_holes_are_told_apart_by_the_first_number() -> None:
    fields = key_after(20, 15, 10, 25)
    assert (fields["first"], fields["lowest"], fields["last"]) == (20, 10, 25)
    assert fields["open_ranges"] == [(21, 24)]
    assert fields["holes_before_first"] == [(11, 14), (16, 19)]


def test_what_is_given_up_first_is_the_lowest_and_a_hole_costs_nothing() -> None:
    fields = key_after(20, 15, 25, 30, max_open_ranges=2)
    assert (fields["highest_evicted"], fields["lost_in_evicted_ranges"]) == (19, 0)
    fields = key_after(20, 15, 25, 30, 40, max_open_ranges=2)
    assert (fields["highest_evicted"], fields["lost_in_evicted_ranges"]) == (24, 4)
    assert fields["open_ranges"] == [(26, 29), (31, 39)]


def test_a_reset_begins_anew_and_keeps_the_counts() -> None:
    fields = key_after(5_000, 5_002, 3, 5)
    assert (fields["first"], fields["last"], fields["open_ranges"]) == (3, 5, [(4, 4)])
    assert (fields["gaps"], fields["session_resets"], fields["total_messages"]) == (2, 1, 4)


def record(session: str, symbol: str, number: int, source: int | None) -> dict[str, Any]:
    return {
        "session": session,
        "exchange": "ASX",
        "symbol": symbol,
        "session_sequence": number,
        "source_sequence": source,
    }


def judged_by_the_platform(records: list[dict[str, Any]], state: PartitionState) -> None:
    """What BatchJudge does with sound records, one by one."""
    for one in records:
        keys = [pa.array([one[name]]).dictionary_encode() for name in ("session", "exchange", "symbol")]
        seen = state.session.check(keys, pa.array([one["session_sequence"]])).seen[0]
        if seen != Knowledge.KNOWN:
            state.source.check(keys[1:], pa.array([one["source_sequence"]], pa.int64()))


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from(["s1", "s2"]),
        st.sampled_from(["BHP", "CBA", "RIO"]),
        st.integers(1, 30),
        st.integers(1, 30) | st.none(),
    ),
    max_size=60,
)


@given(records=RECORDS, max_keys=st.integers(1, 5), max_open_ranges=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_the_model_and_the_platform_make_the_same_of_a_log(
    records: list[dict[str, Any]], max_keys: int, max_open_ranges: int
) -> None:
    given_limits = {**SMALL, "max_keys": max_keys, "max_open_ranges": max_open_ranges}
    model = PartitionModel(Limits.of({"sequence": given_limits}))
    for one in records:
        model.take(one)
    state = PartitionState.empty(SequenceSettings(**given_limits))
    judged_by_the_platform(records, state)
    found = {}
    for row in state.to_arrow().to_pylist():
        name = (row.pop("tracker"), tuple(row.pop("key")))
        ranges = {kind: [(one["first"], one["last"]) for one in row[kind]] for kind in RANGES}
        found[name] = {**row, **ranges}
    assert list(found.items()) == list(model.rows().items())


def test_what_was_fed_stands_for_a_log_that_was_not_followed() -> None:
    clean = clean_checkpoint(3)
    log = table_of(clean, "logged")
    sound = log.filter(pa.compute.is_null(log["decode_error"])).drop_columns(["decode_error"])
    fed = sound.append_column("outcome", pa.array(["ok"] * len(sound)))
    history = without_stage(clean, "logged")
    history = History(history.header, observations=(*history.observations, Observation("fed", fed)))
    assert run_checker(checkpoint.check, history).outcome is Outcome.PASS


def test_a_record_that_may_be_in_the_log_leaves_what_follows_undecided() -> None:
    clean = clean_checkpoint(3)
    place = table_of(clean, "logged").num_rows - 5
    history = edit_stage(clean, "logged", lambda table: set_values(table, place, kafka_offset=None))
    verdict = run_checker(checkpoint.check, history)
    assert verdict.outcome is Outcome.UNKNOWN
    assert {finding.kind for finding in verdict.findings} == {"log_incomplete"}


@pytest.mark.parametrize("by", [-1, 1])
def test_a_difference_names_file_key_and_field_with_both_values(by: int) -> None:
    def edit(table: pa.Table) -> pa.Table:
        last = table.num_rows - 1
        return set_values(table, last, last=table["last"][last].as_py() + by)

    clean = clean_checkpoint(1)
    row = table_of(clean, "checkpoints").to_pylist()[-1]
    verdict = run_checker(checkpoint.check, edit_stage(clean, "checkpoints", edit))
    assert [finding.kind for finding in verdict.findings] == ["differs"]
    assert verdict.findings[0].example == (
        f"snapshot 5, market.crypto.trades/1 at {row['next_offset']}: session {':'.join(row['key'])} "
        f"last is {row['last'] + by}, the log makes it {row['last']}"
    )
