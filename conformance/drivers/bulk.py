"""Runs of many records: what was fed and stored as columns of numbers, without an object a record."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.assembly.feeding import build_producer
from k2.assembly.tables import committed_offsets
from k2.feeds.feed import FeedRecord
from k2.ingestion.feed_runner import Credits, run_feed
from k2.ingestion.producer import Delivery
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE

STORED_COLUMNS = (
    "session", "exchange", "symbol", "session_sequence", "source_sequence", "topic", "kafka_partition", "kafka_offset",
    "sequence_event", "quality_flags", "snapshot_id",
)  # fmt: skip
_TEXT = ("session", "exchange", "symbol", "topic", "outcome")
_NUMBERS = ("session_sequence", "source_sequence", "kafka_partition", "kafka_offset")
_NOWHERE = -1


@dataclass(slots=True)
class FedColumns:
    """What became of each record fed, in the order in which the broker answered."""

    _numbers: dict[str, "array[int]"] = field(default_factory=lambda: {name: array("q") for name in _NUMBERS})
    _codes: dict[str, "array[int]"] = field(default_factory=lambda: {name: array("i") for name in _TEXT})
    _texts: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in _TEXT})
    sent: int = 0

    def add(self, item: FeedRecord, delivery: Delivery) -> None:
        """One record's fate is known."""
        record = item.record
        places = (delivery.partition, delivery.offset)
        numbers = (record["session_sequence"], record["source_sequence"], *places)
        for name, number in zip(_NUMBERS, numbers, strict=True):
            self._numbers[name].append(_NOWHERE if number is None else number)
        outcome = "ok" if delivery.error is None else "fail"
        texts = (record["session"], record["exchange"], record["symbol"], delivery.topic, outcome)
        for name, text in zip(_TEXT, texts, strict=True):
            known = self._texts[name]
            self._codes[name].append(known.setdefault(text, len(known)))

    def __len__(self) -> int:
        """Records whose fate is known."""
        return len(self._codes["outcome"])

    def table(self) -> pa.Table:
        """Stage `fed`."""
        columns = {}
        for name, codes in self._codes.items():
            columns[name] = pa.DictionaryArray.from_arrays(
                pa.array(np.array(codes, np.int32)), pa.array(list(self._texts[name]), pa.string())
            )
        for name, numbers in self._numbers.items():
            values = np.array(numbers, np.int64)
            columns[name] = pa.array(values, mask=values == _NOWHERE)
        return pa.table(columns)

    def ends(self) -> dict[tuple[str, int], int]:
        """For each partition the offset after the last acknowledged record."""
        topics = list(self._texts["topic"])
        codes, partitions, offsets = (
            np.array(column) for column in (self._codes["topic"], *(self._numbers[name] for name in _NUMBERS[2:]))
        )
        placed = partitions != _NOWHERE
        return {
            (topics[code], partition): int(offsets[(codes == code) & (partitions == partition)].max()) + 1
            for code, partition in sorted(set(zip(codes[placed].tolist(), partitions[placed].tolist(), strict=True)))
        }


def feed_in_bulk(stack: Stack, records: Iterable[FeedRecord], window: int) -> FedColumns:
    """Send records, at most `window` messages a partition ahead of the tables.

    Raises:
        RuntimeError: the fate of some is unknown.
        DeliveryError: the tables took in nothing for two minutes.
    """
    fed = FedColumns()
    with build_producer(stack.settings, Metrics()) as producer:
        result = run_feed(records, producer, Credits(window, committed_offsets(stack.settings)), fed.add)
    if len(fed) != result.sent or result.refused:
        raise RuntimeError(f"the fate of {len(fed)} of {result.sent} records is known, {result.refused} were refused")
    return fed


def bulk_view(stack: Stack) -> tuple[pa.Table, pa.Table]:
    """STORED_COLUMNS of every row of the trades table, texts as dictionaries, and the snapshots that brought them."""
    storage = stack.settings.storage
    view = view_table(storage, TRADE.table)
    rows = view.rows.select(list(STORED_COLUMNS))
    for index, name in enumerate(rows.column_names):
        if pa.types.is_string(rows[name].type):
            rows = rows.set_column(index, name, rows[name].dictionary_encode().unify_dictionaries())
    return rows, view.snapshots


def observe_in_bulk(history: HistoryWriter, fed: FedColumns, rows: pa.Table, snapshots: pa.Table) -> None:
    """Stages `fed`, `stored` and `snapshots`."""
    history.observe("fed", fed.table(), "trades")
    history.observe("stored", rows, "trades")
    history.observe("snapshots", snapshots, "trades")


def peak_memory_mib(process_id: int) -> float:
    """The most memory a running process has held at once, in MiB."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"the kernel does not say how much memory process {process_id} held")
