"""Tables for the storage tests: a catalog and a warehouse in a folder, rows for them, and writers by the dozen."""

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from pyiceberg.table import Table

from k2.clock import Clock, SystemClock
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, TRADE, RecordType
from k2.records.schemas import TIMESTAMP_TYPE, table_schema
from k2.settings import SequenceSettings, StorageSettings
from k2.storage.audit import AuditEntry, TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.progress import PartitionKey, TopicIdentity
from k2.storage.writer import Advance, Committed, TableWriter, WrittenFiles

TOPIC = "market.crypto.trades"
TOPICS = {f"cluster-a/{TOPIC}": TopicIdentity(4, "id of the topic")}
DAY_NS = 86_400 * 10**9
FIRST_TIME_NS = 20_778 * DAY_NS + 12 * 3_600 * 10**9
STATE = pa.table({"key": pa.array([["BINANCE", "BTCUSDT"]], pa.list_(pa.string()))})
DEFAULT_SEQUENCES = SequenceSettings()


def key(partition: int) -> PartitionKey:
    return PartitionKey("cluster-a", TOPIC, partition)


def trade(
    offset: int, *, partition: int = 0, exchange: str = "BINANCE", symbol: str = "BTCUSDT", time_ns: int = FIRST_TIME_NS
) -> dict[str, Any]:
    """One row of the trades table."""
    return {
        "session": "morning",
        "session_sequence": offset + 1,
        "exchange": exchange,
        "symbol": symbol,
        "asset_class": "crypto",
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + 1_000,
        "source_sequence": offset + 100,
        "trade_id": f"t{offset}",
        "price": Decimal("64000.0000000001"),
        "quantity": Decimal("0.5"),
        "side": "BUY",
        "venue": None,
        "conditions": None,
        "vendor_data": [("maker", "true")],
        "topic": TOPIC,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "schema_id": 1,
        "sequence_event": "IN_ORDER",
        "quality_flags": 0,
    }


def quote_row(offset: int) -> dict[str, Any]:
    """One row of the quotes table."""
    price = Decimal("64000")
    prices = {"bid_price": price, "bid_quantity": Decimal(1), "ask_price": price + 1, "ask_quantity": Decimal(2)}
    return {**trade(offset), **prices, "quote_id": f"q{offset}"}


def table_of(rows: Sequence[Mapping[str, Any]], record_type: RecordType = TRADE) -> pa.Table:
    """Rows as the table's columns, the timestamps derived from the nanoseconds."""
    schema = table_schema(record_type)
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    for name in ("event_time", "receive_time"):
        columns[name] = pa.array([row[f"{name}_ns"] // 1_000 for row in rows], pa.int64()).cast(TIMESTAMP_TYPE)
    return pa.table(columns, schema=schema)


def trades(offsets: range, **values: Any) -> pa.Table:
    """Rows at consecutive offsets, a microsecond apart."""
    start_ns = values.pop("time_ns", FIRST_TIME_NS)
    return table_of([trade(offset, time_ns=start_ns + offset * 1_000, **values) for offset in offsets])


def with_dictionaries(rows: pa.Table) -> pa.Table:
    """The same rows with text that repeats as dictionary<int32, string>, as the consumer hands them over."""
    for name in ("exchange", "symbol", "session", "side", "asset_class", "topic", "sequence_event"):
        position = rows.schema.get_field_index(name)
        column = rows.column(name).dictionary_encode()
        rows = rows.set_column(position, rows.schema.field(name).with_type(column.type), column)
    return rows


@dataclass
class Warehouse:
    """A folder with a catalog, a warehouse and an audit log, and whatever was opened on it."""

    folder: Path
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = field(default_factory=SystemClock)
    changed_settings: Mapping[str, Any] = field(default_factory=dict)
    _opened: list[IcebergCatalog] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)
    _id_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def settings(self) -> StorageSettings:
        return StorageSettings(
            catalog_uri=f"sqlite:///{quote(str(self.folder))}/catalog.db",
            warehouse=str(self.folder / "warehouse"),
            audit_log=self.folder / "audit.jsonl",
            **self.changed_settings,
        )

    @property
    def audit(self) -> TransactionAuditLog:
        return TransactionAuditLog(self.settings.audit_log)

    def open_catalog(self) -> IcebergCatalog:
        """Another connection to the catalog, closed with the warehouse."""
        catalog = IcebergCatalog(self.settings)
        self._opened.append(catalog)
        return catalog

    def writer(self, catalog: IcebergCatalog | None = None) -> TableWriter:
        """A writer of the trades table, by default with its own catalog as another process would have."""
        return TableWriter(
            TRADE, catalog or self.open_catalog(), self.audit, self.metrics, self.clock, new_id=self._new_id
        )

    def quote_writer(self) -> TableWriter:
        """A writer of the quotes table."""
        return TableWriter(QUOTE, self.open_catalog(), self.audit, self.metrics, self.clock, new_id=self._new_id)

    def table(self) -> Table:
        """The trades table as anybody else would load it."""
        return self._opened[0].load(TRADE.table)

    def offsets(self) -> list[tuple[int, int]]:
        """(partition, offset) of every row, sorted, read by PyIceberg's own scan."""
        rows = self.table().scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow()
        return sorted(zip(rows["kafka_partition"].to_pylist(), rows["kafka_offset"].to_pylist(), strict=True))

    def entries(self) -> list[AuditEntry]:
        return self.audit.entries(TRADE.table)

    def data_files(self) -> set[str]:
        return self._names("data")

    def state_files(self) -> set[str]:
        return self._names("state")

    def close(self) -> None:
        for catalog in self._opened:
            catalog.close()

    def _names(self, kind: str) -> set[str]:
        return {path.name for path in (self.folder / "warehouse" / "market_data" / "trades_v2" / kind).glob("*")}

    def _new_id(self) -> str:
        with self._id_lock:
            return f"id{next(self._ids):06}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one partition's next rows, and what their commit would move."""

    written: WrittenFiles
    advances: Mapping[PartitionKey, Advance]
    name: str

    @property
    def file_names(self) -> set[str]:
        paths = [*(file.file_path for file in self.written.files), *(a.state_path for a in self.advances.values())]
        return {path.rsplit("/", 1)[-1] for path in paths}


def prepare(
    writer: TableWriter, partition: int, expected: int | None, next_offset: int, state: pa.Table = STATE, **values: Any
) -> Batch:
    """Write the files that move a partition from an offset to the next."""
    rows = trades(range(expected or 0, next_offset), partition=partition, **values)
    state_path = writer.write_state(state, key(partition), next_offset)
    return Batch(
        writer.write_rows(rows),
        {key(partition): Advance(expected, next_offset, state_path)},
        f"{partition}:{expected}-{next_offset}",
    )


def commit(writer: TableWriter, batch: Batch) -> Committed:
    return writer.commit(batch.written, batch.advances, TOPICS, batch.name)


def advance(writer: TableWriter, partition: int, expected: int | None, next_offset: int, **values: Any) -> Committed:
    """Write and commit in one go."""
    return commit(writer, prepare(writer, partition, expected, next_offset, **values))
