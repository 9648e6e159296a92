"""Going back to an earlier snapshot of a table: rows, progress and state go back together.

The consumer then takes everything after it from Kafka again. That is also the way out of a lost state checkpoint: the
newest snapshot whose checkpoints are all whole is a place to start from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import SQLAlchemyError

from k2.clock import Clock
from k2.errors import StaleWriterError, StateLostError, UnavailableError, UsageError
from k2.storage.audit import ROLLED_BACK, AuditEntry, TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.checkpoints import read_checkpoint
from k2.storage.progress import PROGRESS_PROPERTY, PartitionKey, Progress
from k2.storage.retention import ancestors
from k2.storage.snapshots import snapshot_number


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What going back means.

    Attributes:
        table: its name.
        from_snapshot: current now.
        to_snapshot: current afterwards.
        snapshots_undone: snapshots that leave the table's branch; their files stay until they are expired.
        rows_removed: rows that leave the table until they are taken from Kafka again.
        next_offsets: where each partition stands afterwards.
    """

    table: str
    from_snapshot: int
    to_snapshot: int
    snapshots_undone: int
    rows_removed: int
    next_offsets: Mapping[PartitionKey, int]


def plan_rollback(catalog: IcebergCatalog, name: str, to_snapshot: int | None = None) -> RollbackPlan:
    """Plan going back to a snapshot, or to the newest one before the current whose state is whole.

    Raises:
        UsageError: the table has no such ancestor, or is empty.
        StateLostError: the snapshot's state is not whole, or that of no ancestor is.
    """
    table = catalog.load(name)
    line = list(ancestors(table.metadata))
    if len(line) < 2:
        raise UsageError(f"{name} has no snapshot before the current one: there is nothing to go back to")
    current, before = line[0], line[1:]
    target = _named(name, before, to_snapshot) if to_snapshot is not None else _newest_whole(catalog, table, before)
    if to_snapshot is not None:
        _check_state(catalog, table, target)
    return RollbackPlan(
        table=name,
        from_snapshot=current.snapshot_id,
        to_snapshot=target.snapshot_id,
        snapshots_undone=line.index(target),
        rows_removed=_total_rows(current) - _total_rows(target),
        next_offsets={key: place.next_offset for key, place in _progress(target).partitions.items()},
    )


def carry_out(catalog: IcebergCatalog, plan: RollbackPlan, audit: TransactionAuditLog, clock: Clock) -> None:
    """Go back, if the table is still where it was when the plan was made, and note it in the audit log.

    Raises:
        StaleWriterError: a writer has committed since; nothing was changed.
        UnavailableError: the catalog does not answer; plan again to see whether it holds.
    """
    table = catalog.load(plan.table)
    current = table.current_snapshot()
    if current is None or current.snapshot_id != plan.from_snapshot:
        raise StaleWriterError(f"{plan.table} has changed since the rollback was planned: stop its consumers first")
    try:
        with catalog.guard_catalog(), catalog.guard_store():
            table.manage_snapshots().rollback_to_snapshot(plan.to_snapshot).commit()
    except CommitFailedException as error:
        raise StaleWriterError(f"{plan.table} changed while it was rolled back: stop its consumers first") from error
    except (SQLAlchemyError, OSError) as error:
        raise UnavailableError(f"no answer to the rollback of {plan.table}: look at it again") from error
    audit.append(_entry(table, current, plan, clock))


def _entry(table: Table, current: Snapshot, plan: RollbackPlan, clock: Clock) -> AuditEntry:
    target = table.snapshot_by_id(plan.to_snapshot)
    return AuditEntry(
        wall_ns=clock.wall_ns(),
        table=plan.table,
        status=ROLLED_BACK,
        exchange="several",
        asset_class="several",
        record_count=-plan.rows_removed,
        snapshot_id_before=current.snapshot_id,
        snapshot_id_after=plan.to_snapshot,
        sequence_number_before=snapshot_number(current),
        sequence_number_after=snapshot_number(target) if target else None,
        transaction_duration_ms=None,
    )


def _named(name: str, before: list[Snapshot], snapshot_id: int) -> Snapshot:
    for snapshot in before:
        if snapshot.snapshot_id == snapshot_id:
            return snapshot
    raise UsageError(f"snapshot {snapshot_id} is no ancestor of the current snapshot of {name}")


def _newest_whole(catalog: IcebergCatalog, table: Table, before: list[Snapshot]) -> Snapshot:
    for snapshot in before:
        try:
            _check_state(catalog, table, snapshot)
        except StateLostError:
            continue
        return snapshot
    raise StateLostError(f"no earlier snapshot of {table.name()[-1]} has its state whole: restore it from a backup")


def _check_state(catalog: IcebergCatalog, table: Table, snapshot: Snapshot) -> None:
    for place in _progress(snapshot).partitions.values():
        if place.state_path is not None:
            with catalog.guard_store():
                read_checkpoint(table.io, place.state_path)


def _progress(snapshot: Snapshot) -> Progress:
    text = snapshot.summary.additional_properties.get(PROGRESS_PROPERTY) if snapshot.summary else None
    return Progress.from_json(text) if text is not None else Progress()


def _total_rows(snapshot: Snapshot) -> int:
    return int(snapshot.summary.additional_properties.get("total-records", 0)) if snapshot.summary else 0
