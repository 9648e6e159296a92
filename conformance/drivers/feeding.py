"""Sends records through K2's own producer and remembers what the broker said of each."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from conformance.drivers.table_view import next_offsets
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.assembly.feeding import build_producer
from k2.assembly.tables import committed_offsets
from k2.feeds.feed import FeedRecord
from k2.ingestion.feed_runner import Credits, run_feed
from k2.ingestion.producer import Delivery
from k2.observability.metrics import Metrics
from k2.records.definition import RECORD_TYPES

DRAIN_TIMEOUT_SECONDS = 90.0
FED_TYPES = {
    **dict.fromkeys(("session_sequence", "event_time_ns", "receive_time_ns", "source_sequence"), pa.int64()),
    **dict.fromkeys(("listed_at_ns", "delisted_at_ns", "valid_from_ns"), pa.int64()),
    **dict.fromkeys(
        ("price", "quantity", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "tick_size", "lot_size"),
        pa.decimal128(38, 12),
    ),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
    "schema_id": pa.int32(),
    "snapshot_id": pa.int64(),
}
_NOT_COMPARED = ("vendor_data",)
_NEVER_SENT = Delivery("", None, None, "never sent")
_NOT_REPORTED = Delivery("", None, None, "no delivery report")
# What the feed held and the platform's reader never sent counts as promised: it must be found, so it will be missed.
_OUTCOMES = {None: "ok", _NEVER_SENT.error: "ok", _NOT_REPORTED.error: "unknown"}
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Fed:
    """What was sent, in order: the record and what became of it."""

    items: Sequence[tuple[FeedRecord, Delivery]]

    def acknowledged_ends(self) -> dict[Place, int]:
        """For each partition the offset after the last acknowledged record."""
        ends: dict[Place, int] = {}
        for _, delivery in self.items:
            if delivery.partition is not None and delivery.offset is not None:
                place = (delivery.topic, delivery.partition)
                ends[place] = max(ends.get(place, 0), delivery.offset + 1)
        return ends

    def table(self, data_type: str, truth: Sequence[Mapping[str, Any]] | None = None) -> pa.Table:
        """Stage `fed` for one data type, in the order sent.

        Args:
            data_type: which records.
            truth: an independent reading of the same input, taken instead of the records where given; it has to name
                every record, also those that were never sent.
        """
        chosen = [(item.record, delivery) for item, delivery in self.items if item.data_type == data_type]
        if truth is None:
            rows = [_fed_row(record, delivery) for record, delivery in chosen]
        else:
            rows = list(_joined(truth, chosen))
        return table_of(rows)


def feed_records(stack: Stack, records: Iterable[FeedRecord], window: int = 0) -> Fed:
    """Send records, at most `window` messages a partition ahead of the tables (0: no limit)."""
    order: list[FeedRecord] = []
    deliveries: dict[int, Delivery] = {}

    def remembered() -> Iterable[FeedRecord]:
        for record in records:
            order.append(record)
            yield record

    credits = Credits(window, committed_offsets(stack.settings)) if window else None
    with build_producer(stack.settings, Metrics()) as producer:
        run_feed(remembered(), producer, credits, lambda item, delivery: deliveries.update({id(item): delivery}))
    return Fed([(item, deliveries.get(id(item), _NOT_REPORTED)) for item in order])


def wait_until_drained(
    stack: Stack, history: HistoryWriter, ends: Mapping[Place, int], alive: Callable[[], bool] = lambda: True
) -> None:
    """Wait until the tables hold everything up to these offsets, and record that as the operation `drain`.

    Raises:
        TimeoutError: they do not, after a minute and a half, or the consumer died.
    """
    give_up_at = time.monotonic() + DRAIN_TIMEOUT_SECONDS
    with history.invoke("harness", "drain"):
        while not _reached(stack, ends):
            if time.monotonic() > give_up_at or not alive():
                raise TimeoutError("the tables did not take in everything that was acknowledged")
            time.sleep(0.1)


def latest(*ends: Mapping[Place, int]) -> dict[Place, int]:
    """For each partition the highest of several ends."""
    return {place: max(each.get(place, 0) for each in ends) for place in {place for each in ends for place in each}}


def table_offsets(stack: Stack) -> dict[Place, int]:
    """How far every table says each partition was taken in."""
    storage = stack.settings.storage
    found: dict[Place, int] = {}
    for record_type in RECORD_TYPES.values():
        found |= next_offsets(storage, record_type.table)
    return found


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table whose column types are the same whatever the rows hold."""
    names = list(rows[0]) if rows else []
    return pa.table({name: pa.array([row[name] for row in rows], FED_TYPES.get(name, pa.string())) for name in names})


def _reached(stack: Stack, ends: Mapping[Place, int]) -> bool:
    offsets = table_offsets(stack)
    return all(offsets.get(place, 0) >= end for place, end in ends.items())


def _fed_row(record: Mapping[str, Any], delivery: Delivery) -> dict[str, Any]:
    plain = {name: _exact(name, value) for name, value in record.items() if name not in _NOT_COMPARED}
    return {**plain, **_fate(delivery)}


def _joined(
    truth: Sequence[Mapping[str, Any]], sent: Sequence[tuple[Mapping[str, Any], Delivery]]
) -> Iterable[dict[str, Any]]:
    """The truth's values with the fate of the record that was sent in their place, by position."""
    for position, values in enumerate(truth):
        record, delivery = sent[position] if position < len(sent) else ({}, _NEVER_SENT)
        yield {"session": record.get("session", ""), **values, **_fate(delivery)}


def _fate(delivery: Delivery) -> dict[str, Any]:
    outcome = _OUTCOMES.get(delivery.error, "fail")
    return {
        "outcome": outcome,
        "topic": delivery.topic or None,
        "kafka_partition": delivery.partition,
        "kafka_offset": delivery.offset,
    }


def _exact(name: str, value: Any) -> Any:
    if value is not None and FED_TYPES.get(name) == pa.decimal128(38, 12):
        return Decimal(value)
    return value
