"""The audit log beside the tables it tells of: reconciled with them, and asked."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from k2.assembly.tables import open_catalog
from k2.clock import SystemClock
from k2.errors import UsageError
from k2.observability.metrics import Metrics
from k2.records.definition import RecordType
from k2.settings import Settings
from k2.storage.audit import AuditEntry, TransactionAuditLog
from k2.storage.audit_answers import BatchOfTable, entry_at, find_batch, find_message
from k2.storage.audit_check import AuditFinding, check_lines, check_table
from k2.storage.transaction_log import TransactionLog


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a reconciliation came to.

    Attributes:
        lines: of the log, of whatever table.
        snapshots: of the tables looked at.
        recovered: entries that were written because they were missing.
        findings: what still disagrees.
    """

    lines: int
    snapshots: int
    recovered: int
    findings: tuple[AuditFinding, ...]


def verify_audit(settings: Settings, record_types: Iterable[RecordType], *, recover: bool) -> AuditReport:
    """Reconcile the audit log with the history of tables.

    Args:
        settings: where both are.
        record_types: whose tables.
        recover: write the entries that a crash kept from being written first.

    Raises:
        UsageError: there are no tables.
        UnavailableError: catalog, warehouse or log cannot be read.
    """
    audit = TransactionAuditLog(settings.storage.audit_log)
    with closing(open_catalog(settings)) as catalog:
        tables = {record_type.table: catalog.load(record_type.table) for record_type in record_types}
        recovered = 0
        if recover:
            for name, table in tables.items():
                log = TransactionLog(name, audit, Metrics(), SystemClock())
                recovered += len(log.recover(table.metadata))
        # Entries of what was committed since the tables were loaded name snapshots that nobody has seen yet.
        lines = audit.lines()
        tables = {name: catalog.load(name) for name in tables}
        findings = [*check_lines(lines)]
        for name, table in tables.items():
            findings += check_table(name, table, lines)
        snapshots = sum(len(table.metadata.snapshots) for table in tables.values())
    return AuditReport(len(lines), snapshots, recovered, tuple(findings))


def snapshot_at(settings: Settings, record_type: RecordType, time_ns: int) -> AuditEntry:
    """The entry of the snapshot that a table had at a time.

    Raises:
        UsageError: it had none yet.
    """
    entry = entry_at(_entries(settings, record_type), time_ns)
    if entry is None:
        raise UsageError(
            f"{record_type.table} had no snapshot at that time, as far as {settings.storage.audit_log} tells"
        )
    return entry


def batch_named(settings: Settings, record_type: RecordType, name: str) -> BatchOfTable:
    """The commit that brought a batch.

    Raises:
        UsageError: no commit did.
    """
    found = find_batch(_entries(settings, record_type), name)
    if found is None:
        raise UsageError(f"no commit to {record_type.table} brought a batch named {name!r}: names are those of the log")
    return found


def batch_with(settings: Settings, record_type: RecordType, topic: str, partition: int, offset: int) -> BatchOfTable:
    """The commit that took in a message of Kafka.

    Raises:
        UsageError: no commit did.
    """
    found = find_message(_entries(settings, record_type), topic, partition, offset)
    if found is None:
        raise UsageError(f"no commit to {record_type.table} took in offset {offset} of {topic}/{partition}")
    return found


def is_kept(settings: Settings, record_type: RecordType, snapshot_id: int) -> bool:
    """Whether the table still has a snapshot, so that it can be read as of then."""
    with closing(open_catalog(settings)) as catalog:
        return catalog.load(record_type.table).metadata.snapshot_by_id(snapshot_id) is not None


def _entries(settings: Settings, record_type: RecordType) -> list[AuditEntry]:
    return TransactionAuditLog(settings.storage.audit_log).entries(record_type.table)
