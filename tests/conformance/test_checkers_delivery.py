"""Delivery, dead letters and audit: what is allowed, beside the defects that are not."""

from dataclasses import replace

import pyarrow as pa

from conformance.checkers import audit, dead_letters, delivery
from conformance.checkers.verdict import Outcome, run_checker
from conformance.planted.audit import clean_audit
from conformance.planted.dead_letters import clean_dead_letters
from conformance.planted.delivery import clean_delivery
from conformance.planted.suite import (
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    table_of,
    with_attributes,
    with_parameters,
    without_stage,
)


def test_a_record_may_be_missing_that_was_never_acknowledged() -> None:
    history = clean_delivery(1)
    fed, stored = table_of(history, "fed", "trades"), table_of(history, "stored", "trades")
    place = next(
        (row["session"], row["symbol"], row["session_sequence"])
        for row in fed.to_pylist()
        if row["outcome"] == "unknown" and row["session_sequence"] > 1
    )
    attempts = [
        row
        for row, one in enumerate(fed.to_pylist())
        if (one["session"], one["symbol"], one["session_sequence"]) == place
    ]
    rows = [
        row
        for row, one in enumerate(stored.to_pylist())
        if (one["session"], one["symbol"], one["session_sequence"]) == place
    ]
    assert (len(attempts), len(rows)) == (1, 1)
    absent = edit_stage(history, "stored", lambda table: drop_rows(table, rows), "trades")
    assert run_checker(delivery.check, absent).outcome is Outcome.PASS


def test_a_rejected_record_is_accounted_for_by_its_dead_letter() -> None:
    history = clean_delivery(1)
    stored = table_of(history, "stored", "quotes")
    place = {name: stored[name][5].as_py() for name in ("topic", "kafka_partition", "kafka_offset")}
    dropped = edit_stage(history, "stored", lambda table: drop_rows(table, [5]), "quotes")
    assert run_checker(delivery.check, dropped).findings[0].kind == "lost"
    rejected = edit_stage(dropped, "dead_letters", lambda table: add_row(table, 0, **place), "quotes")
    assert run_checker(delivery.check, rejected).outcome is Outcome.PASS


def test_each_planned_kill_has_to_bite_as_often_as_it_was_planned() -> None:
    history = with_parameters(clean_delivery(1), expected_kills=["WRITE", "WRITE"])
    (finding,) = run_checker(delivery.check, history).findings
    assert (finding.kind, finding.count, finding.examples) == ("fault_did_not_bite", 1, ("WRITE",))


def test_a_loss_is_a_failure_even_where_a_kill_did_not_bite() -> None:
    history = edit_operations(clean_delivery(1), "kill", lambda _: None)
    lost = edit_stage(history, "stored", lambda table: drop_rows(table, [5]), "quotes")
    verdict = run_checker(delivery.check, lost)
    assert verdict.outcome is Outcome.FAIL
    assert {finding.kind for finding in verdict.findings} == {"lost", "fault_did_not_bite"}


def test_an_offset_reported_behind_the_table_is_allowed() -> None:
    behind = edit_operations(clean_delivery(1), "offsets_reported", lambda one: with_attributes(one, {"offset": 0}))
    assert run_checker(delivery.check, behind).outcome is Outcome.PASS


def test_a_run_without_faults_is_judged_all_the_same() -> None:
    history = with_parameters(edit_operations(clean_delivery(1), "kill", lambda _: None), expected_kills=[])
    verdict = run_checker(delivery.check, history)
    assert verdict.outcome is Outcome.PASS
    assert verdict.reason.endswith("0 kills survived")


def test_other_headers_can_be_agreed_on() -> None:
    history = clean_dead_letters(1)
    verdict = run_checker(dead_letters.check, with_parameters(history, required_headers=["x-reason"]))
    assert {finding.kind for finding in verdict.findings} == {"missing_header"}
    fewer = with_parameters(history, required_headers=["k2.stage"], coordinate_headers=["a", "b", "c"])
    assert run_checker(dead_letters.check, fewer).outcome is Outcome.PASS


def test_dead_letters_without_their_neighbours_are_unknown() -> None:
    verdict = run_checker(dead_letters.check, without_stage(clean_dead_letters(1), "fed"))
    assert verdict.reason == "stages were not followed: fed"


def test_an_entry_recovered_twice_is_allowed_and_one_written_twice_is_not() -> None:
    history = clean_audit(1)
    recovered = table_of(history, "audit")["recovered"].to_pylist().index(True)
    again = edit_stage(history, "audit", lambda table: add_row(table, recovered))
    assert run_checker(audit.check, again).outcome is Outcome.PASS
    twice = edit_stage(again, "audit", lambda table: set_values(add_row(table, 0), table.num_rows, recovered=False))
    assert {finding.kind for finding in run_checker(audit.check, twice).findings} >= {"repeated_entry"}


def test_counts_that_only_one_side_has_are_not_compared() -> None:
    history = clean_audit(1)
    wrong = edit_stage(history, "audit", lambda table: set_values(table, 0, total_records=-1))
    assert run_checker(audit.check, wrong).findings[0].kind == "wrong_count"
    one_sided = edit_stage(wrong, "snapshots", lambda table: table.drop_columns(["total_records"]))
    assert run_checker(audit.check, one_sided).outcome is Outcome.PASS


def test_an_audit_without_its_columns_is_unknown() -> None:
    history = edit_stage(clean_audit(1), "audit", lambda table: table.drop_columns(["status"]))
    verdict = run_checker(audit.check, history)
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "unusable_history")


def test_the_oldest_snapshots_may_have_a_parent_that_expired() -> None:
    history = clean_audit(1)
    first = table_of(history, "snapshots")["snapshot_id"][0].as_py()

    def forget(table: pa.Table, name: str) -> pa.Table:
        return drop_rows(table, [row for row, one in enumerate(table[name].to_pylist()) if one == first])

    kept = edit_stage(history, "snapshots", lambda table: forget(table, "snapshot_id"))
    kept = edit_stage(kept, "audit", lambda table: forget(table, "snapshot_id_after"))
    assert run_checker(audit.check, replace(kept)).outcome is Outcome.PASS
