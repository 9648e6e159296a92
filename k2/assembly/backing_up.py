"""Backups of all tables, and the tables of a backup again."""

from pathlib import Path

from k2.assembly.tables import open_catalog
from k2.clock import SystemClock
from k2.records.definition import RECORD_TYPES
from k2.settings import Settings
from k2.storage import backup as backups
from k2.storage.backup import Backup
from k2.storage.catalog import IcebergCatalog


def back_up(settings: Settings, folder: Path) -> Backup:
    """Copy every table as of now into a folder.

    Raises:
        UsageError: there are no tables, or the folder cannot be used.
        UnavailableError: catalog or warehouse does not answer.
    """
    catalog = open_catalog(settings)
    try:
        tables = [record_type.table for record_type in RECORD_TYPES.values()]
        return backups.take_backup(catalog, tables, folder, SystemClock())
    finally:
        catalog.close()


def restore(settings: Settings, folder: Path, name: str | None, *, replace: bool, dry_run: bool) -> Backup:
    """Check a backup, and make its tables again unless it is a dry run.

    Raises:
        UsageError: there is no such backup, or it is of another warehouse.
        RefusedError: it is not whole, or a table has rows and is not to be replaced.
        UnavailableError: catalog or warehouse does not answer.
    """
    backup = backups.read_backup(folder, name)
    # After a total loss there is no catalog to be opened: it is made.
    catalog = IcebergCatalog(settings.storage)
    try:
        backups.check_restore(catalog, backup, folder, replace=replace)
        if not dry_run:
            backups.restore(catalog, backup, folder)
        return backup
    finally:
        catalog.close()
