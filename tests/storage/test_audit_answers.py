"""The audit log says which snapshot held at a time and which one holds a batch, through rollbacks and expiry."""

from dataclasses import replace

import pytest

from k2.storage.audit import FAILED, ROLLED_BACK, SUCCESS, AuditEntry
from k2.storage.audit_answers import entry_at, find_batch, find_message

PLACE = "cluster-a/market.crypto.trades/0"
FIRST, SECOND, UNDONE, AGAIN = 11, 12, 13, 14


def entry(time: int, before: int | None, after: int | None, moved_to: int | None, status: str = SUCCESS) -> AuditEntry:
    batch = f"{PLACE} to {moved_to}; cluster-a/market.crypto.trades/1 to 7" if moved_to is not None else None
    return AuditEntry(
        wall_ns=time,
        table="market_data.trades_v2",
        status=status,
        exchange="BINANCE",
        asset_class="crypto",
        record_count=1,
        snapshot_id_before=before,
        snapshot_id_after=after,
        sequence_number_before=None,
        sequence_number_after=None,
        transaction_duration_ms=1.0,
        batch=batch,
    )


ENTRIES = [
    entry(100, None, FIRST, 10),
    entry(200, FIRST, SECOND, 20),
    entry(250, SECOND, None, 30, FAILED),
    entry(300, SECOND, UNDONE, 30),
    entry(400, UNDONE, SECOND, None, ROLLED_BACK),
    entry(500, SECOND, AGAIN, 40),
]


@pytest.mark.parametrize(
    ("time", "held"),
    [(99, None), (100, FIRST), (199, FIRST), (299, SECOND), (300, UNDONE), (400, SECOND), (499, SECOND), (900, AGAIN)],
)
def test_the_snapshot_of_a_time_is_the_one_that_was_current(time: int, held: int | None) -> None:
    found = entry_at(ENTRIES, time)
    assert (found.snapshot_id_after if found else None) == held


def test_an_entry_recovered_later_has_its_place_by_its_time() -> None:
    late = [*ENTRIES[:1], *ENTRIES[2:], replace(ENTRIES[1], recovered=True)]
    held = [entry_at(late, time) for time in (220, 600)]
    assert [found.snapshot_id_after if found else None for found in held] == [SECOND, AGAIN]


def test_a_rollback_that_nobody_logged_shows_in_the_next_commit() -> None:
    unlogged = [each for each in ENTRIES if each.status != ROLLED_BACK]
    assert find_batch(unlogged, str(ENTRIES[3].batch)) == find_batch(ENTRIES, str(ENTRIES[3].batch))


@pytest.mark.parametrize(("number", "is_undone"), [(0, False), (1, False), (3, True), (5, False)])
def test_a_batch_is_found_by_its_name_and_known_to_be_undone(number: int, is_undone: bool) -> None:
    found = find_batch(ENTRIES, str(ENTRIES[number].batch))
    assert found is not None
    assert (found.entry, found.is_undone) == (ENTRIES[number], is_undone)


@pytest.mark.parametrize(
    ("offset", "holder"), [(0, FIRST), (9, FIRST), (10, SECOND), (19, SECOND), (20, AGAIN), (39, AGAIN), (40, None)]
)
def test_a_message_is_in_the_first_commit_that_went_past_it_and_holds(offset: int, holder: int | None) -> None:
    found = find_message(ENTRIES, "market.crypto.trades", 0, offset)
    assert (found.entry.snapshot_id_after if found else None) == holder
    assert found is None or not found.is_undone


def test_what_nobody_brought_is_not_found() -> None:
    assert find_batch(ENTRIES, "no such batch") is None
    assert find_message(ENTRIES, "crypto.trades", 0, 5) is None
    assert find_message(ENTRIES, "market.crypto.trades", 2, 5) is None
    assert entry_at([], 100) is None
