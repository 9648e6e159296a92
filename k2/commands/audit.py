"""`k2 audit`: is the transaction log what the tables did, and what does it say of a time or a batch."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from k2.api.timestamps import parse_time_ns
from k2.commands.context import AsJson, DataType, known_data_type, settings_of
from k2.errors import AuditMismatchError, UsageError
from k2.records.definition import RECORD_TYPES

if TYPE_CHECKING:
    from k2.assembly.auditing import AuditReport
    from k2.storage.audit import AuditEntry

app = typer.Typer(no_args_is_help=True, help="The log of every change to the tables.")
_SHOWN = ("batch", "exchange", "asset_class", "record_count", "sequence_number_after", "snapshot_id_before")


@app.command("verify")
def verify(
    context: typer.Context,
    data_type: Annotated[
        str | None, typer.Option("--data-type", help="Only the table of this data type; default all.")
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="First write the entries that a crash kept from being written.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Reconcile the log with the history of the tables; exit code 76 where they disagree.

    A consumer that commits meanwhile may be seen between its commit and its entry: then ask again.

    Example: k2 audit verify --recover
    """
    from k2.assembly.auditing import verify_audit

    chosen = RECORD_TYPES.values() if data_type is None else [RECORD_TYPES[known_data_type(data_type)]]
    report = verify_audit(settings_of(context), chosen, recover=recover)
    _print_report(report, as_json)
    if report.findings:
        raise AuditMismatchError(_summary(report))


@app.command("snapshot")
def snapshot(
    context: typer.Context,
    data_type: DataType = "trades",
    at: Annotated[str | None, typer.Option("--at", help="The snapshot that was current then: RFC 3339, or ns.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="The snapshot that brought the batch so named.")] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", help="The snapshot that took in this message of Kafka: topic/partition/offset."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which snapshot a table had at a time, or which one brought a batch or a message.

    Example: k2 audit snapshot --at 2026-11-21T09:45:00Z, or --message market.crypto.trades/0/1234
    """
    from k2.assembly import auditing

    settings, record_type = settings_of(context), RECORD_TYPES[known_data_type(data_type)]
    if [at, batch, message].count(None) != 2:
        raise UsageError("exactly one of --at, --batch and --message says which snapshot is asked for")
    is_undone = False
    if at is not None:
        entry = auditing.snapshot_at(settings, record_type, _time_ns(at))
    else:
        found = (
            auditing.batch_named(settings, record_type, batch)
            if batch is not None
            else auditing.batch_with(settings, record_type, *_place(message or ""))
        )
        entry, is_undone = found.entry, found.is_undone
    kept = auditing.is_kept(settings, record_type, int(entry.snapshot_id_after or 0))
    _print_entry(entry, is_undone=is_undone, is_kept=kept, as_json=as_json)


def _print_report(report: "AuditReport", as_json: bool) -> None:
    if as_json:
        for finding in report.findings:
            typer.echo(json.dumps(asdict(finding)))
        counts = {"lines": report.lines, "snapshots": report.snapshots, "recovered": report.recovered}
        typer.echo(json.dumps({**counts, "findings": len(report.findings)}))
        return
    for finding in report.findings:
        places = [
            *([finding.table] if finding.table else []),
            *([f"line {finding.line}"] if finding.line else []),
            *([f"snapshot {finding.snapshot_id}"] if finding.snapshot_id else []),
        ]
        typer.echo(f"{finding.kind}: {', '.join(places)}: {finding.detail}")
        typer.echo(f"  remedy: {finding.remedy}")
    if report.recovered:
        typer.echo(f"{report.recovered} entries recovered")
    if not report.findings:
        typer.echo(f"{report.lines} lines tell what {report.snapshots} snapshots did")


def _summary(report: "AuditReport") -> str:
    kinds = [finding.kind for finding in report.findings]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    remedy = (
        "`k2 audit verify --recover` writes what is missing"
        if all(finding.is_recoverable for finding in report.findings)
        else "see the remedy beside each finding"
    )
    return f"the audit log does not tell what the tables did ({counted}): {remedy}"


def _print_entry(entry: "AuditEntry", *, is_undone: bool, is_kept: bool, as_json: bool) -> None:
    committed_at = datetime.fromtimestamp(entry.wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    if as_json:
        found = {"snapshot_id": entry.snapshot_id_after, "committed_at": committed_at}
        typer.echo(json.dumps({**found, "is_undone": is_undone, "is_kept": is_kept, "entry": asdict(entry)}))
        return
    readable = "can be read" if is_kept else "has expired and cannot be read any more"
    undone = "; a later rollback has undone it" if is_undone else ""
    typer.echo(f"{entry.table} snapshot {entry.snapshot_id_after} of {committed_at} {readable}{undone}")
    for name in _SHOWN:
        typer.echo(f"  {name:<22} {getattr(entry, name)}")


def _time_ns(text: str) -> int:
    try:
        return parse_time_ns(text)
    except ValueError as error:
        raise UsageError(f"--at {text!r:.60}: {error}") from error


def _place(text: str) -> tuple[str, int, int]:
    topic, _, rest = text.partition("/")
    numbers = rest.split("/")
    if not topic or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise UsageError(f"--message {text!r:.80} is not topic/partition/offset, such as market.crypto.trades/0/1234")
    return topic, int(numbers[0]), int(numbers[1])
