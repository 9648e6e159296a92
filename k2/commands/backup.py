"""`k2 backup` and `k2 restore`: all tables as of one moment, copied into a folder and made from it again."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2.commands.context import AsJson, settings_of

if TYPE_CHECKING:
    from k2.storage.backup import Backup

_MEGABYTE = 1e6


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Gets the copy; one that holds backups gets only what is new.")],
    as_json: AsJson = False,
) -> None:
    """Copy all tables as of now, with their history, progress and state; consumers may go on meanwhile.

    A topic's messages and the Schema Registry are not in it.

    Exit codes: 0 done, 64 there are no tables, or the folder cannot be used, 69 catalog or warehouse does not answer.

    Example: k2 backup /srv/backup/k2
    """
    from k2.assembly.backing_up import back_up

    started = time.monotonic()
    taken = back_up(settings_of(context), folder)
    _say(taken, f"copied to {folder}", time.monotonic() - started, as_json)


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where `k2 backup` left it.")],
    name: Annotated[str | None, typer.Option("--backup", help="Which backup; default the newest.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where tables have rows, which are lost.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only see that the backup is whole and fits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make all tables from a backup again; consumers then go on at the offsets it holds.

    Stop consumers and API first. Every file is compared with what was backed up before anything is changed.

    Exit codes: 0 done, 64 there is no such backup, or it is of another warehouse, 69 catalog or warehouse does not
    answer, 78 the backup is not whole, or tables have rows.

    Example: k2 restore /srv/backup/k2 --dry-run
    """
    from k2.assembly.backing_up import restore as restore_backup

    started = time.monotonic()
    restored = restore_backup(settings_of(context), folder, name, replace=replace, dry_run=dry_run)
    done = "whole, and can be restored" if dry_run else "restored"
    _say(restored, done, time.monotonic() - started, as_json)


def _say(backup: "Backup", done: str, seconds: float, as_json: bool) -> None:
    if as_json:
        tables = {table.name: {"snapshot_id": table.snapshot_id, "rows": table.rows,
                               "next_offsets": dict(table.next_offsets)} for table in backup.tables}  # fmt: skip
        summary = {"backup": backup.name, "taken_wall_ns": backup.taken_wall_ns, "files": len(backup.files),
                   "bytes": backup.size_bytes, "copied_bytes": backup.copied_bytes, "seconds": round(seconds, 3),
                   "tables": tables}  # fmt: skip
        typer.echo(json.dumps(summary))
        return
    typer.echo(f"backup {backup.name}: {done} after {seconds:.1f} s")
    for table in backup.tables:
        typer.echo(f"  {table.name:<32} {table.rows} rows, snapshot {table.snapshot_id or '-'}")
    copied = f", {backup.copied_bytes / _MEGABYTE:.1f} MB of them new" if backup.copied_bytes else ""
    typer.echo(f"  {len(backup.files)} files, {backup.size_bytes / _MEGABYTE:.1f} MB{copied}")
