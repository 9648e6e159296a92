"""The tables themselves: created, and asked how far they have come."""

from collections.abc import Callable, Mapping
from pathlib import Path

from k2.errors import UsageError
from k2.resilience.breakers import CircuitBreakers
from k2.settings import Settings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader

_SQLITE = "sqlite:///"


def create_tables(settings: Settings, breakers: CircuitBreakers | None = None) -> None:
    """Create the catalog and the tables that are missing."""
    catalog = IcebergCatalog(settings.storage, breakers)
    try:
        catalog.create_tables()
    finally:
        catalog.close()


def open_catalog(settings: Settings, breakers: CircuitBreakers | None = None) -> IcebergCatalog:
    """The catalog as it is: whoever reads from a folder without one must not leave an empty one behind.

    Raises:
        UsageError: there is none.
    """
    address = settings.storage.catalog_uri
    if address.startswith(_SQLITE) and not Path(address.removeprefix(_SQLITE).partition("?")[0]).exists():
        raise UsageError(f"there are no tables at {address}: start `k2 up` or run `k2 init`, or choose --data-dir")
    return IcebergCatalog(settings.storage, breakers)


def committed_offsets(
    settings: Settings, breakers: CircuitBreakers | None = None
) -> Callable[[], Mapping[tuple[str, int], int]]:
    """A function that asks the tables how far each (topic, partition) has been taken in."""
    reader = TableReader(open_catalog(settings, breakers))

    def ask() -> Mapping[tuple[str, int], int]:
        return {place: offset for table in reader.tables() for place, offset in reader.next_offsets(table).items()}

    return ask
