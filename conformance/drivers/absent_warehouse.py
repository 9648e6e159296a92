"""A warehouse that is away: a table's folder under another name, and a file in its place, which stops root too."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from conformance.history import HistoryWriter
from conformance.stacks.base import Stack

_CATALOG_TIMEOUT_SECONDS = 30.0


@contextmanager
def absent_warehouse(stack: Stack, history: HistoryWriter, table: str) -> Iterator[None]:
    """Take the folder of a table away for as long as the body runs; the catalog, which says what holds, stays."""
    folder = Path(stack.settings.storage.warehouse) / table.replace(".", "/")
    away = folder.with_name(f"{folder.name}.away")
    with history.invoke("harness", "fault", {"fault": "absent_warehouse", "table": table}):
        folder.rename(away)
        folder.write_text("a file where a folder was\n")
        try:
            yield
        finally:
            folder.unlink()
            away.rename(folder)


def current_metadata(stack: Stack, table: str) -> str:
    """Address of a table's metadata, straight from the catalog: it changes with every commit, and with nothing else."""
    catalog = stack.settings.storage.catalog_uri.removeprefix("sqlite:///")
    with closing(sqlite3.connect(catalog, timeout=_CATALOG_TIMEOUT_SECONDS)) as connection:
        (location,) = connection.execute(
            "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?", (table.rsplit(".", 1)[1],)
        ).fetchone()
    return str(location)
