"""The tables themselves: created, and asked how far they have come."""

from collections.abc import Callable, Mapping

from k2.settings import Settings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader


def create_tables(settings: Settings) -> None:
    """Create the catalog and the tables that are missing."""
    catalog = IcebergCatalog(settings.storage)
    try:
        catalog.create_tables()
    finally:
        catalog.close()


def committed_offsets(settings: Settings) -> Callable[[], Mapping[tuple[str, int], int]]:
    """A function that asks the tables how far each (topic, partition) has been taken in."""
    reader = TableReader(IcebergCatalog(settings.storage))

    def ask() -> Mapping[tuple[str, int], int]:
        return {place: offset for table in reader.tables() for place, offset in reader.next_offsets(table).items()}

    return ask
