"""Log and history are reconciled: each way in which they can disagree is found, named and has a remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k2.clock import SystemClock
from k2.records.definition import TRADE
from k2.storage.audit_check import AuditFinding, check_lines, check_table
from k2.storage.rollback import carry_out, plan_rollback
from tests.storage.warehouse_tables import Warehouse, advance

COMMITS = 5
Damage = Callable[[list[str]], list[str]]


def findings(warehouse: Warehouse) -> list[AuditFinding]:
    lines = warehouse.audit.lines()
    return [*check_lines(lines), *check_table(TRADE.table, warehouse.table(), lines)]


def filled(warehouse: Warehouse, commits: int = COMMITS) -> list[int]:
    writer = warehouse.writer()
    return [advance(writer, 0, number or None, number + 1).snapshot_id for number in range(commits)]


def damage(path: Path, change: Damage) -> None:
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def edited(number: int, **changed: Any) -> Damage:
    """One line with values changed, the digest in it left as it is."""

    def change(lines: list[str]) -> list[str]:
        document = {**json.loads(lines[number]), **changed}
        return [*lines[:number], json.dumps(document, separators=(",", ":")) + "\n", *lines[number + 1 :]]

    return change


def test_a_log_that_tells_the_history_has_nothing_to_find(warehouse: Warehouse) -> None:
    snapshots = filled(warehouse)
    catalog = warehouse.open_catalog()
    carry_out(catalog, plan_rollback(catalog, TRADE.table), warehouse.audit, SystemClock())
    advance(warehouse.writer(), 0, COMMITS - 1, COMMITS)
    assert findings(warehouse) == []
    assert len(snapshots) == COMMITS


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda lines: lines[:-1], {"missing"}, id="last line lost"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1][:40]], {"missing", "torn"}, id="last line torn"),
        pytest.param(lambda lines: [*lines[:2], *lines[3:]], {"missing", "altered"}, id="line taken out"),
        pytest.param(
            lambda lines: [*lines[:2], "nothing\n", *lines[3:]], {"missing", "altered", "damaged"}, id="overwritten"
        ),
        pytest.param(lambda lines: [lines[1], lines[0], *lines[2:]], {"altered"}, id="swapped"),
        pytest.param(lambda lines: [*lines, lines[2]], {"repeated", "altered"}, id="twice"),
        pytest.param(edited(2, record_count=7), {"altered"}, id="count"),
        pytest.param(edited(4, added_records=7), {"altered"}, id="count in the last line"),
        pytest.param(edited(2, transaction_duration_ms=0.01), {"altered"}, id="what the table cannot tell"),
        pytest.param(edited(2, exchange="ASX"), {"altered"}, id="exchange"),
        pytest.param(edited(2, wall_ns=5), {"altered"}, id="time"),
        pytest.param(edited(0, snapshot_id_before=5), {"altered", "lost"}, id="before"),
        pytest.param(edited(4, snapshot_id_after=5), {"missing", "foreign_entry"}, id="snapshot of nobody"),
        pytest.param(
            edited(4, snapshot_id_after=5, sequence_number_after=99), {"missing", "foreign_entry"}, id="future"
        ),
    ],
)
def test_what_was_done_to_the_log_is_found(warehouse: Warehouse, change: Damage, expected: set[str]) -> None:
    filled(warehouse)
    damage(warehouse.settings.audit_log, change)
    found = findings(warehouse)
    assert {finding.kind for finding in found} == expected
    assert all(finding.detail and finding.remedy for finding in found)
    assert all(finding.is_recoverable for finding in found if finding.kind in ("missing", "torn"))


def test_what_was_done_to_entries_of_expired_snapshots_is_found(tmp_path: Path) -> None:
    bounded = {"snapshots_kept": 2, "snapshot_hours_kept": 0, "snapshot_days_kept": 0}
    warehouse = Warehouse(tmp_path, changed_settings=bounded)
    warehouse.open_catalog().create_tables()
    filled(warehouse)
    assert findings(warehouse) == []
    whole = warehouse.settings.audit_log.read_text()
    for change, expected in (
        (edited(1, record_count=7), {"altered"}),
        (lambda lines: [lines[0], *lines[2:]], {"altered", "lost"}),
    ):
        damage(warehouse.settings.audit_log, change)
        assert {finding.kind for finding in findings(warehouse)} == expected
        warehouse.settings.audit_log.write_text(whole)
    warehouse.close()


def test_a_snapshot_that_k2_did_not_make_is_foreign(warehouse: Warehouse) -> None:
    filled(warehouse)
    warehouse.table().delete("exchange = 'BINANCE'")
    (finding,) = findings(warehouse)
    assert (finding.kind, finding.snapshot_id) == ("foreign_snapshot", warehouse.table().metadata.current_snapshot_id)


def test_entries_of_versions_without_digests_are_not_held_to_them(warehouse: Warehouse) -> None:
    filled(warehouse)

    def without_digest(lines: list[str]) -> list[str]:
        documents = [json.loads(line) for line in lines]
        for document in documents:
            document.pop("previous_line", None)
        return [json.dumps(document) + "\n" for document in documents]

    damage(warehouse.settings.audit_log, without_digest)
    assert findings(warehouse) == []
    advance(warehouse.writer(), 0, COMMITS, COMMITS + 1)
    assert findings(warehouse) == []


def test_recovery_after_a_torn_line_leaves_nothing_to_find(warehouse: Warehouse) -> None:
    filled(warehouse)
    damage(warehouse.settings.audit_log, lambda lines: [*lines[:-1], lines[-1][:40]])
    assert warehouse.writer().recover_audit() == 1
    assert findings(warehouse) == []
