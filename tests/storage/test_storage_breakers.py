"""Catalog and warehouse pass their breakers: real failures of each open its own and only its own."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from k2.assembly.tables import create_tables, open_catalog
from k2.errors import CircuitOpenError, StaleWriterError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, TRADE
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import BreakerState
from k2.settings import BreakerSettings, Settings, StorageSettings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader
from tests.resilience.manual_clock import ManualClock
from tests.storage.warehouse_tables import Warehouse, advance, commit, prepare

CATALOG, STORE = Dependency.CATALOG, Dependency.OBJECT_STORE
CLOSED, HALF_OPEN, OPEN = BreakerState
OPEN_SECONDS = 10.0


class Guarded:
    """A catalog with breakers of its own, that does not wait for a lock."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.clock = ManualClock()
        settings = BreakerSettings(failures_to_open=2, open_seconds=OPEN_SECONDS, successes_to_close=1)
        self.breakers = CircuitBreakers(settings, Metrics(), self.clock)
        storage = warehouse.settings
        impatient = storage.model_copy(update={"catalog_uri": f"{storage.catalog_uri}?timeout=0.01"})
        self.catalog = IcebergCatalog(impatient, self.breakers)
        self.reader = TableReader(self.catalog)

    def states(self) -> tuple[BreakerState, BreakerState]:
        return self.breakers[CATALOG].state, self.breakers[STORE].state


@pytest.fixture
def guarded(warehouse: Warehouse) -> Iterator[Guarded]:
    guarded = Guarded(warehouse)
    yield guarded
    guarded.catalog.close()


@contextmanager
def locked(warehouse: Warehouse) -> Iterator[None]:
    with closing(sqlite3.connect(warehouse.folder / "catalog.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def away(warehouse: Warehouse) -> Iterator[None]:
    folder = warehouse.folder / "warehouse"
    folder.rename(warehouse.folder / "away")
    yield
    (warehouse.folder / "away").rename(folder)


def test_a_locked_catalog_opens_the_catalog_s_breaker_alone(warehouse: Warehouse, guarded: Guarded) -> None:
    with locked(warehouse):
        for _ in range(2):
            with pytest.raises(UnavailableError, match="locked"):
                guarded.reader.plan(TRADE.table)
        assert guarded.states() == (OPEN, CLOSED)
        with pytest.raises(CircuitOpenError, match="catalog"):
            guarded.catalog.load(TRADE.table)
    guarded.clock.advance(OPEN_SECONDS)
    guarded.catalog.load(TRADE.table)
    assert guarded.states() == (CLOSED, CLOSED)


def test_a_warehouse_that_is_away_opens_the_object_store_s_breaker_alone(
    warehouse: Warehouse, guarded: Guarded
) -> None:
    with away(warehouse):
        for _ in range(2):
            with pytest.raises(UnavailableError, match="cannot be loaded"):
                guarded.catalog.load(TRADE.table)
        assert guarded.states() == (CLOSED, OPEN)
        with pytest.raises(CircuitOpenError, match="object_store"):
            guarded.catalog.load(TRADE.table)
    guarded.clock.advance(OPEN_SECONDS)
    guarded.catalog.load(TRADE.table)
    assert guarded.states() == (CLOSED, CLOSED)


def test_what_is_kept_says_nothing_of_the_object_store(warehouse: Warehouse, guarded: Guarded) -> None:
    guarded.catalog.load(QUOTE.table)
    with away(warehouse):
        for _ in range(2):
            with pytest.raises(UnavailableError, match="cannot be loaded"):
                guarded.catalog.load(TRADE.table)
            # Between two failures in a row, and while the breaker is open.
            assert guarded.catalog.load(QUOTE.table).name() == tuple(QUOTE.table.split("."))
        assert guarded.states() == (CLOSED, OPEN)


def test_writing_passes_the_object_store_s_breaker(warehouse: Warehouse, guarded: Guarded) -> None:
    writer = warehouse.writer(guarded.catalog)
    with away(warehouse):
        # A file where the folder was stops root too.
        (warehouse.folder / "warehouse").write_text("no folder")
        for _ in range(2):
            with pytest.raises(UnavailableError, match="does not take or give a file"):
                writer.read_state(f"file://{warehouse.folder}/warehouse/state.arrow")
        assert guarded.states() == (CLOSED, OPEN)
        with pytest.raises(CircuitOpenError):
            writer.read_state(f"file://{warehouse.folder}/warehouse/state.arrow")
        (warehouse.folder / "warehouse").unlink()


def test_a_commit_passes_the_catalog_s_breaker(warehouse: Warehouse, guarded: Guarded) -> None:
    writer = warehouse.writer(guarded.catalog)
    batch = prepare(writer, 0, None, 3)
    with locked(warehouse):
        for _ in range(2):
            with pytest.raises(UnavailableError):
                commit(writer, batch)
        with pytest.raises(CircuitOpenError):
            commit(writer, batch)
    guarded.clock.advance(OPEN_SECONDS)
    commit(writer, batch)
    assert len(warehouse.offsets()) == 3


def test_answers_that_are_errors_leave_both_closed(warehouse: Warehouse, guarded: Guarded) -> None:
    late = warehouse.writer(guarded.catalog)
    batches = [prepare(late, 0, None, 1) for _ in range(3)]
    advance(warehouse.writer(), 0, None, 2)
    for batch in batches:
        with pytest.raises(StaleWriterError):
            commit(late, batch)
        with pytest.raises(UsageError):
            guarded.catalog.load("market_data.candles")
    assert guarded.states() == (CLOSED, CLOSED)


def test_a_catalog_with_options_in_its_address_is_found(tmp_path: Path) -> None:
    storage = StorageSettings(catalog_uri=f"sqlite:///{tmp_path}/c.db?timeout=1", warehouse=str(tmp_path / "w"))
    create_tables(Settings(storage=storage))
    open_catalog(Settings(storage=storage)).close()
    elsewhere = StorageSettings(catalog_uri=f"sqlite:///{tmp_path}/d.db?timeout=1", warehouse=str(tmp_path / "w"))
    with pytest.raises(UsageError, match="there are no tables"):
        open_catalog(Settings(storage=elsewhere))
