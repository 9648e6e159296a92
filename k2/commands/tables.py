"""`k2 rollback`: set a table back, and its progress and state with it."""

import json
from typing import Annotated

import typer

from k2.commands.context import AsJson, DataType, known_data_type, settings_of

_PLAIN_FIELDS = ("table", "from_snapshot", "to_snapshot", "snapshots_undone", "rows_removed")


def rollback(
    context: typer.Context,
    data_type: DataType = "trades",
    to_snapshot: Annotated[
        int | None, typer.Option("--to", help="Snapshot id; default the newest earlier one whose state is whole.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set a table back to an earlier snapshot; the consumer takes the rest from Kafka again.

    Stop the table's consumers first. Refused where Kafka no longer holds what would have to be taken in again.

    Example: k2 rollback --data-type trades --dry-run
    """
    from k2.assembly.rolling_back import roll_back
    from k2.records.definition import RECORD_TYPES

    record_type = RECORD_TYPES[known_data_type(data_type)]
    plan = roll_back(settings_of(context), record_type, to_snapshot, dry_run=dry_run)
    if as_json:
        described = {name: getattr(plan, name) for name in _PLAIN_FIELDS}
        offsets = {str(key): offset for key, offset in plan.next_offsets.items()}
        typer.echo(json.dumps({**described, "next_offsets": offsets, "dry_run": dry_run}))
        return
    done = "would go" if dry_run else "went"
    typer.echo(f"{plan.table} {done} back from snapshot {plan.from_snapshot} to {plan.to_snapshot}")
    typer.echo(f"  snapshots undone  {plan.snapshots_undone}")
    typer.echo(f"  rows removed      {plan.rows_removed}, to be taken from Kafka again")
    for key, offset in sorted(plan.next_offsets.items()):
        typer.echo(f"  {key.topic}/{key.partition} goes on at offset {offset}")
