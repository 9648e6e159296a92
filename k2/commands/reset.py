"""`k2 reset`: throws away what a demo has gathered, after saying what that is."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from k2.commands.context import AsJson, data_directory_of, settings_of
from k2.errors import K2Error

if TYPE_CHECKING:
    from k2.assembly.resetting import Item

_MEGABYTE = 1e6
_TITLES = {"kafka": "Kafka", "iceberg": "Iceberg"}


def reset(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    keep_kafka: Annotated[bool, typer.Option("--keep-kafka", help="Messages and dead letters stay.")] = False,
    keep_iceberg: Annotated[bool, typer.Option("--keep-iceberg", help="Tables and audit log stay.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the data of a demo: messages, rows, files. Asks before, and refuses what is not marked as a demo.

    Stop consumers, feeds and the API first. `k2 up` marks its data directory, `DEMO=true make up` a deployment's.

    Exit codes: 0 done, 1 it was not confirmed and nothing was removed, 69 a server does not answer, 78 it is no demo,
    or tables would be kept that lack messages.

    Example: k2 reset --dry-run --keep-kafka
    """
    from k2.assembly import resetting

    settings = settings_of(context)
    keep = [name for name, kept in ((resetting.KAFKA, keep_kafka), (resetting.ICEBERG, keep_iceberg)) if kept]
    items = resetting.plan_reset(settings, data_directory_of(context), keep)
    _say(items, keep, as_json)
    if dry_run or not items:
        return
    if not force and not _confirmed():
        raise K2Error("not confirmed: nothing was removed")
    resetting.carry_out(settings, items)
    if not as_json:
        typer.echo("removed")


def _confirmed() -> bool:
    try:
        return typer.confirm("Remove all of this?", err=True)
    except typer.Abort:
        # Nobody is there to answer.
        return False


def _say(items: "Sequence[Item]", keep: Sequence[str], as_json: bool) -> None:
    if as_json:
        for item in items:
            typer.echo(json.dumps({"component": item.component, "kind": item.kind, "name": item.name,
                                   "amount": item.amount, "size_bytes": item.size_bytes}))  # fmt: skip
        return
    for component, title in _TITLES.items():
        typer.echo(f"{title}{' is kept' if component in keep else ''}")
        chosen = [item for item in items if item.component == component]
        width = max((len(item.name) for item in chosen), default=0)
        for item in chosen:
            unit = {"table": "rows", "messages": "messages", "files": "files"}[item.kind]
            size = f"  {item.size_bytes / _MEGABYTE:8.1f} MB" if item.size_bytes else ""
            typer.echo(f"  {item.name:<{width}}  {item.amount:>10} {unit:<8}{size}")
        if not chosen and component not in keep:
            typer.echo("  nothing")
