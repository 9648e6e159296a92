"""What the provenance checker must not cry wolf about, what it says it left out, and how long it takes."""

import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from conformance.checkers import provenance
from conformance.checkers.verdict import Outcome, Verdict, run_checker
from conformance.history import History, HistoryWriter, Operation
from conformance.planted.journey import SECOND_NS, clean_journey
from conformance.planted.suite import (
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    table_of,
    with_attributes,
    with_parameters,
    without_stage,
)

LARGE = 100_000
LONGEST_SECONDS = 10


def judged(history: History) -> Verdict:
    return run_checker(provenance.check, history)


def kinds(history: History) -> set[str]:
    return {finding.kind for finding in judged(history).findings}


def undrained(history: History) -> History:
    return edit_operations(history, "drain", lambda _: None)


def written(history: History, path: Path) -> History:
    """The history after a journey through its files."""
    with HistoryWriter(path, history.header) as writer:
        for one in history.operations:
            writer.operation(one.process, one.action, one.outcome, attributes=one.attributes)
        for observation in history.observations:
            writer.observe(observation.stage, observation.table, observation.data_type)
    read = History.read(path)
    # The writer's clock is the machine's; the journey's times are its own.
    return replace(read, operations=history.operations)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_clean_journey_passes_and_counts_what_was_acknowledged(seed: int) -> None:
    history = clean_journey(seed)
    acknowledged = sum(one.table["outcome"].to_pylist().count("ok") for one in history.of_stage("fed"))
    assert judged(history) == Verdict(
        Outcome.PASS, f"{acknowledged} acknowledged records followed without a fault", acknowledged
    )


def test_a_journey_read_back_from_its_files_passes(tmp_path: Path) -> None:
    assert judged(written(clean_journey(1), tmp_path / "run")).outcome is Outcome.PASS


def test_a_hundred_thousand_records_are_followed_in_seconds() -> None:
    history = clean_journey(1, records=LARGE)
    started = time.perf_counter()
    verdict = judged(history)
    elapsed_seconds = time.perf_counter() - started
    assert verdict.outcome is Outcome.PASS
    assert verdict.samples > LARGE * 0.97
    assert elapsed_seconds < LONGEST_SECONDS


def test_one_wrong_digit_among_a_hundred_thousand_records_is_found() -> None:
    history = clean_journey(2, records=LARGE)

    def flip(table: pa.Table) -> pa.Table:
        row = table.num_rows - 1
        return set_values(table, row, receive_time_ns=table["receive_time_ns"][row].as_py() + 1)

    verdict = judged(edit_stage(history, "logged", flip, "quotes"))
    details = [(finding.kind, finding.detail, finding.count) for finding in verdict.findings]
    assert details == [
        ("mutated", "receive_time_ns of quotes differs between fed and logged", 1),
        ("mutated", "receive_time_ns of quotes differs between logged and stored", 1),
    ]


def test_a_mutation_is_shown_with_both_values_and_its_place() -> None:
    history = edit_stage(clean_journey(1), "stored", lambda table: set_values(table, 0, side="SIDEWAYS"), "trades")
    (to_table, to_answer) = judged(history).findings
    assert "side of trades differs between logged and stored" in to_table.detail
    assert "SIDEWAYS in stored" in to_table.example
    assert "BINANCE:ETHUSDT #1 at market.crypto.trades/1@0: BUY in logged" in to_table.example
    assert to_answer.detail == "side of trades differs between stored and answered"


@pytest.mark.parametrize("stage", ["logged", "answered", "dead_letters", "snapshots"])
def test_a_stage_that_was_not_followed_is_named(stage: str) -> None:
    followed = without_stage(clean_journey(1), stage)
    verdict = judged(with_parameters(followed, required_stages=["fed", "stored"]))
    assert verdict.outcome is Outcome.PASS
    assert verdict.reason.endswith(f"; not followed: {stage}")
    assert kinds(followed) == {"missing_stage"}


def test_a_table_is_always_required() -> None:
    history = with_parameters(without_stage(clean_journey(1), "stored"), required_stages=["fed"])
    assert judged(history).reason == "stages were not followed: stored"


def test_a_record_beyond_the_progress_is_not_lost_before_the_run_is_drained() -> None:
    history = clean_journey(1, stages=("fed", "stored", "dead_letters", "snapshots"))
    kept = set(table_of(history, "snapshots", "trades")["snapshot_id"].to_pylist()[:4])

    def early_rows(table: pa.Table) -> pa.Table:
        return drop_rows(table, [row for row, one in enumerate(table["snapshot_id"].to_pylist()) if one not in kept])

    earlier = edit_stage(history, "snapshots", lambda table: table.slice(0, 4), "trades")
    earlier = edit_stage(earlier, "stored", early_rows, "trades")
    assert kinds(undrained(earlier)) == set()
    assert kinds(earlier) == {"lost"}


def test_what_is_missing_is_undecided_where_nothing_says_how_far_the_table_is() -> None:
    history = clean_journey(1, stages=("fed", "stored"))
    missing = undrained(edit_stage(history, "stored", lambda table: drop_rows(table, [9]), "trades"))
    verdict = judged(missing)
    assert (verdict.outcome, {finding.kind for finding in verdict.findings}) == (Outcome.UNKNOWN, {"undecided"})


def test_a_dead_letter_ahead_of_the_commit_is_early_and_not_wrong() -> None:
    history = undrained(clean_journey(1, stages=("fed", "logged", "stored", "dead_letters", "snapshots")))
    offset = table_of(history, "snapshots", "trades")["progress"][5].as_py()[0]["next_offset"]

    def one_more(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table, set_values(table.slice(0, 1), 0, kafka_offset=offset)])

    def beyond(table: pa.Table) -> pa.Table:
        poison = table["decode_error"].is_valid().to_pylist().index(True)
        return pa.concat_tables([table, set_values(table.slice(poison, 1), 0, kafka_offset=offset)])

    early = edit_stage(edit_stage(history, "dead_letters", one_more, "trades"), "logged", beyond, "trades")
    assert kinds(early) == set()


def test_a_table_without_progress_is_judged_by_its_snapshots() -> None:
    history = clean_journey(1)
    for data_type in ("trades", "quotes"):
        history = edit_stage(history, "snapshots", without_progress, data_type)
    assert kinds(history) == set()

    def ahead(operation: Operation) -> Operation:
        snapshots = table_of(history, "snapshots", "trades")["snapshot_id"].to_pylist()
        is_second = operation.attributes["request"] == "trades-0"
        return with_attributes(operation, {"snapshot_id": snapshots[2]}) if is_second else operation

    newer = table_of(history, "snapshots", "trades")["snapshot_id"][2].as_py()

    def relabel(table: pa.Table) -> pa.Table:
        for row, request in enumerate(table["request"].to_pylist()):
            if request == "trades-0":
                table = set_values(table, row, snapshot_id=newer)
        return table

    incomplete = edit_stage(edit_operations(history, "request", ahead), "answered", relabel, "trades")
    assert kinds(incomplete) == {"incomplete_answer"}


def without_progress(table: pa.Table) -> pa.Table:
    for row in range(table.num_rows):
        table = set_values(table, row, progress=None)
    return table


def test_an_answer_may_be_older_than_a_commit_within_the_tolerance() -> None:
    history = clean_journey(1)
    late = edit_operations(history, "request", lambda one: replace(one, wall_ns=one.wall_ns + SECOND_NS * 4 // 5))
    assert kinds(late) == {"stale"}
    assert kinds(with_parameters(late, staleness_tolerance_ms=500)) == set()


def test_a_hybrid_answer_may_be_ahead_of_the_table_and_a_plain_one_may_not() -> None:
    plain = edit_operations(clean_journey(1), "request", lambda one: with_attributes(one, {"hybrid": False}))
    assert kinds(plain) == {"aborted_but_visible"}


def test_a_hybrid_answer_may_hold_what_the_table_does_not_have_yet() -> None:
    history = undrained(clean_journey(1))
    answered = table_of(history, "answered", "trades")
    tail = next(
        row for row, request in reversed(list(enumerate(answered["request"].to_pylist()))) if request == "trades-10"
    )
    place = (answered["topic"][tail].as_py(), answered["kafka_partition"][tail].as_py())
    offset = answered["kafka_offset"][tail].as_py()
    ids = set(table_of(history, "snapshots", "trades")["snapshot_id"].to_pylist()[:2])

    def only_two_snapshots(table: pa.Table) -> pa.Table:
        return drop_rows(table, [row for row, one in enumerate(table["snapshot_id"].to_pylist()) if one not in ids])

    early = {"trades-0", "trades-1", "trades-2", "trades-3", "trades-10"}

    def only_early_answers(table: pa.Table) -> pa.Table:
        return drop_rows(table, [row for row, one in enumerate(table["request"].to_pylist()) if one not in early])

    history = edit_stage(history, "stored", only_two_snapshots, "trades")
    history = edit_stage(history, "snapshots", lambda table: table.slice(0, 2), "trades")
    history = edit_stage(history, "answered", only_early_answers, "trades")
    history = edit_operations(
        history,
        "request",
        lambda one: one if one.attributes["data_type"] == "quotes" or one.attributes["request"] in early else None,
    )
    stored = table_of(history, "stored", "trades")
    coordinates = zip(
        zip(stored["topic"].to_pylist(), stored["kafka_partition"].to_pylist(), strict=True),
        stored["kafka_offset"].to_pylist(),
        strict=True,
    )
    assert (place, offset) not in set(coordinates)
    assert kinds(history) == set()
    unasked = edit_operations(history, "request", lambda one: with_attributes(one, {"hybrid": False}))
    assert "phantom" in kinds(unasked)


def test_a_log_that_no_longer_begins_at_zero_is_no_mismatch() -> None:
    history = clean_journey(1, stages=("fed", "logged", "stored", "dead_letters", "snapshots"))
    by = 1_000
    for data_type in ("trades", "quotes"):
        for stage in ("fed", "logged", "stored", "dead_letters"):
            history = edit_stage(history, stage, lambda table: moved(table, by), data_type)
        history = edit_stage(history, "snapshots", lambda table: moved_progress(table, by), data_type)
    assert kinds(history) == set()


def moved(table: pa.Table, by: int) -> pa.Table:
    offsets = [None if offset is None else offset + by for offset in table["kafka_offset"].to_pylist()]
    return table.set_column(table.schema.get_field_index("kafka_offset"), "kafka_offset", pa.array(offsets))


def moved_progress(table: pa.Table, by: int) -> pa.Table:
    for row in range(table.num_rows):
        progress = [{**one, "next_offset": one["next_offset"] + by} for one in table["progress"][row].as_py()]
        table = set_values(table, row, progress=progress)
    return table


def test_stages_that_share_no_field_are_not_said_to_agree() -> None:
    bare = ["session", "exchange", "symbol", "session_sequence", "topic", "kafka_partition", "kafka_offset"]
    history = clean_journey(1, stages=("fed", "logged", "stored", "dead_letters", "snapshots"))
    for data_type in ("trades", "quotes"):
        history = edit_stage(history, "stored", lambda table: table.select(bare), data_type)
    verdict = judged(history)
    assert (verdict.outcome, {finding.kind for finding in verdict.findings}) == (Outcome.UNKNOWN, {"nothing_compared"})


def test_one_request_for_each_finding_is_named_in_its_examples() -> None:
    def lose_all(table: pa.Table) -> pa.Table:
        return drop_rows(table, [row for row, one in enumerate(table["request"].to_pylist()) if one == "quotes-6"])

    (finding,) = judged(edit_stage(clean_journey(1), "answered", lose_all, "quotes")).findings
    assert (finding.kind, finding.count) == ("incomplete_answer", 1)
    assert finding.example.startswith("request quotes-6: ")
