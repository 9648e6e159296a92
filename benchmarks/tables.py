"""Tables for benchmarks of storage: a warehouse in a folder, and a writer of its trades."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.trade_rows import trade_rows
from k2.clock import SystemClock
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.settings import StorageSettings
from k2.storage.audit import TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.progress import PartitionKey, TopicIdentity
from k2.storage.writer import Advance, Committed, TableWriter, WrittenFiles

KEY = PartitionKey("benchmark", "market.crypto.trades", 0)
TOPICS = {"benchmark/market.crypto.trades": TopicIdentity(1)}
_FILLED_ROWS = 500_000
STATE = pa.table({"key": pa.array([["BINANCE", "SYM0001USDT"]], pa.list_(pa.string()))})


@dataclass
class BenchmarkTable:
    """The trades table of one warehouse, and how far it was taken."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        storage = StorageSettings(
            **{
                "catalog_uri": f"sqlite:///{self.folder}/catalog.db",
                "warehouse": str(self.folder / "warehouse"),
                "audit_log": self.folder / "audit.jsonl",
                **self.settings,
            }
        )
        catalog = IcebergCatalog(storage)
        catalog.create_tables([TRADE])
        ids = itertools.count()
        audit = TransactionAuditLog(storage.audit_log)
        self.writer = TableWriter(TRADE, catalog, audit, Metrics(), SystemClock(), new_id=lambda: f"{next(ids):08}")
        self.next_offset: int | None = None
        self.catalog = catalog

    def write(self, rows: pa.Table) -> tuple[WrittenFiles, Advance]:
        """The data files, and the state checkpoint that goes with them."""
        after = (self.next_offset or 0) + rows.num_rows
        written = self.writer.write_rows(rows)
        return written, Advance(self.next_offset, after, self.writer.write_state(STATE, KEY, after))

    def commit(self, written: WrittenFiles, advance: Advance) -> Committed:
        """Make them visible."""
        committed = self.writer.commit(written, {KEY: advance}, TOPICS, f"{KEY} to {advance.next_offset}")
        self.next_offset = advance.next_offset
        return committed

    def snapshots(self) -> int:
        """How many it has."""
        return len(self.catalog.load(TRADE.table).metadata.snapshots)


def fill_table(storage: StorageSettings, rows: int) -> None:
    """Have so many trades of another topic in the table, half a million a commit."""
    settings = {"catalog_uri": storage.catalog_uri, "warehouse": storage.warehouse, "audit_log": storage.audit_log}
    table = BenchmarkTable(Path(storage.warehouse).parent, settings)
    batch = trade_rows(min(rows, _FILLED_ROWS))
    for first in range(0, rows, _FILLED_ROWS):
        table.commit(*table.write(batch.slice(0, min(_FILLED_ROWS, rows - first))))
