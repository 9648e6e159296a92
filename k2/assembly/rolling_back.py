"""Setting a table back to an earlier snapshot, if Kafka still holds what must be taken in again."""

from k2.assembly.tables import open_catalog
from k2.clock import SystemClock
from k2.errors import OffsetOutsideLogError
from k2.ingestion.kafka import administrative_client, log_ranges
from k2.records.definition import RecordType
from k2.settings import Settings
from k2.storage import rollback
from k2.storage.audit import TransactionAuditLog
from k2.storage.rollback import RollbackPlan


def roll_back(settings: Settings, record_type: RecordType, to_snapshot: int | None, *, dry_run: bool) -> RollbackPlan:
    """Plan, check against the log, and carry out unless it is a dry run.

    Raises:
        UsageError: there is nothing to go back to.
        StateLostError: no snapshot to go back to has its state whole.
        OffsetOutsideLogError: the log does not hold all that would have to be taken in again; nothing was changed.
        StaleWriterError: a consumer committed meanwhile; nothing was changed.
        UnavailableError: the catalog or the broker does not answer.
    """
    catalog = open_catalog(settings)
    try:
        plan = rollback.plan_rollback(catalog, record_type.table, to_snapshot)
        _check_log(settings, plan)
        if not dry_run:
            rollback.carry_out(catalog, plan, TransactionAuditLog(settings.storage.audit_log), SystemClock())
        return plan
    finally:
        catalog.close()


def _check_log(settings: Settings, plan: RollbackPlan) -> None:
    places = [(key.topic, key.partition) for key in plan.next_offsets]
    ranges = log_ranges(administrative_client(settings.kafka), places)
    for key, offset in plan.next_offsets.items():
        first, end = ranges[key.topic, key.partition]
        if not first <= offset <= end:
            raise OffsetOutsideLogError(
                f"{key.topic}/{key.partition}: snapshot {plan.to_snapshot} stands at {offset}, the log holds {first} "
                f"to {end}: what came between would be lost; choose a later snapshot or restore the topic"
            )
