"""Sends messages of every kind, and looks at what became of each: rows, dead letters and what was counted."""

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer
from prometheus_client.parser import text_string_to_metric_families

from conformance.drivers import http
from conformance.drivers.log_tap import read_all
from conformance.drivers.record_kinds import ASSET_CLASS, Kind
from conformance.drivers.registered import under_registered_id
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES, dead_letter_topic

_FLUSH_SECONDS = 30.0
_COUNTED_SECONDS = 20.0
_PLACE = [("topic", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
_SENT = pa.schema([*_PLACE, *((name, pa.string()) for name in ("kind", "fate", "reason", "flags"))])
_LETTERS = pa.schema([*_PLACE, ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class _Planned:
    kind: Kind
    value: bytes
    is_repeated: bool = False

    @property
    def fate(self) -> str:
        if self.is_repeated:
            return "duplicate"
        return "row" if self.kind.reason is None else "dead_letter"


class KindSender:
    """Sends kinds of message, in turns, and the first rows of each once more at the end.

    Raises (from `send`):
        RuntimeError: the broker did not acknowledge one.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        servers = stack.settings.kafka.bootstrap_servers
        self._client = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 2})
        self._rows: list[dict[str, Any]] = []
        self._errors: list[str] = []

    def send(self, kinds: Sequence[Kind]) -> None:
        """Send all copies of all kinds, and remember where each came to lie."""
        planned = list(_in_turns(kinds))
        for message in [*planned, *_repeated(planned)]:
            # One key, so that what is repeated comes to lie behind what it repeats.
            self._client.produce(
                self._topic(message),
                key=b"kinds",
                value=under_registered_id(self._stack, message.value),
                on_delivery=partial(self._delivered, message),
            )
            self._client.poll(0)
        unsent = self._client.flush(_FLUSH_SECONDS)
        if unsent or self._errors:
            raise RuntimeError(f"{unsent} messages were not acknowledged: {self._errors[:1]}")

    def table(self) -> pa.Table:
        """Stage `sent`."""
        return pa.Table.from_pylist(self._rows, schema=_SENT)

    def ends(self) -> dict[tuple[str, int], int]:
        """For each partition the offset after the last message."""
        ends: dict[tuple[str, int], int] = {}
        for row in self._rows:
            place = (row["topic"], row["kafka_partition"])
            ends[place] = max(ends.get(place, 0), row["kafka_offset"] + 1)
        return ends

    def _topic(self, message: _Planned) -> str:
        return self._stack.topic(ASSET_CLASS, message.kind.record_type.data_type)

    def _delivered(self, message: _Planned, error: KafkaError | None, delivered: Message) -> None:
        if error is not None:
            self._errors.append(error.str())
            return
        self._rows.append(
            {
                "topic": self._topic(message),
                "kafka_partition": delivered.partition(),
                "kafka_offset": delivered.offset(),
                "kind": message.kind.name,
                "fate": message.fate,
                "reason": message.kind.reason or "",
                "flags": message.kind.flags,
            }
        )


def _in_turns(kinds: Sequence[Kind]) -> Iterable[_Planned]:
    """The first copy of each kind, then the second..., numbered through within each type."""
    numbers = {record_type.data_type: itertools.count(1) for record_type in RECORD_TYPES.values()}
    for copy in range(max(kind.copies for kind in kinds)):
        for kind in kinds:
            if copy < kind.copies:
                yield _Planned(kind, kind.message(next(numbers[kind.record_type.data_type])))


def _repeated(planned: Iterable[_Planned]) -> Iterable[_Planned]:
    first = {message.kind.name: message for message in reversed(list(planned)) if message.kind.reason is None}
    return [_Planned(message.kind, message.value, is_repeated=True) for message in first.values()]


def observe_fates(history: HistoryWriter, stack: Stack, sender: KindSender) -> None:
    """Stages `sent`, `stored` and `dead_letters`."""
    history.observe("sent", sender.table())
    storage = stack.settings.storage
    columns = ["topic", "kafka_partition", "kafka_offset", "quality_flags"]
    for record_type in RECORD_TYPES.values():
        rows = view_table(storage, record_type.table).rows
        history.observe("stored", rows.select(columns), record_type.data_type)
    history.observe("dead_letters", _letters(stack))


def _letters(stack: Stack) -> pa.Table:
    names = [dead_letter_topic(stack.topic(ASSET_CLASS, data_type)) for data_type in RECORD_TYPES]
    rows = []
    for letter in read_all(stack.settings.kafka.bootstrap_servers, names):
        headers = {name: (value or b"").decode(errors="replace") for name, value in letter.headers}
        rows.append(
            {
                "topic": headers["k2.source.topic"],
                "kafka_partition": int(headers["k2.source.partition"]),
                "kafka_offset": int(headers["k2.source.offset"]),
                "reason": f"{headers['k2.stage']}/{headers['k2.error.class']}",
            }
        )
    return pa.Table.from_pylist(rows, schema=_LETTERS)


def observe_counts(history: HistoryWriter, data_type: str, metrics_url: str, received: int) -> None:
    """The operation `counted`: what a consumer exports, once it has counted so many messages or twenty seconds long."""
    give_up_at = time.monotonic() + _COUNTED_SECONDS
    with history.invoke("consumer", "counted", {"data_type": data_type}) as invocation:
        while (counted := _counted(http.get(metrics_url).body))["received"] < received:
            if time.monotonic() > give_up_at:
                break
            time.sleep(0.05)
        invocation.attributes |= counted


def _counted(exposition: str) -> dict[str, Any]:
    counted: dict[str, Any] = {"received": 0, "duplicates": 0, "rejected": {}, "flagged": {}}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels, number = sample.labels, int(sample.value)
            match sample.name:
                case "k2_messages_received_total":
                    counted["received"] = number
                case "k2_duplicates_detected_total":
                    counted["duplicates"] = number
                case "k2_messages_rejected_total":
                    counted["rejected"][f"{labels['stage']}/{labels['reason']}"] = number
                case "k2_rows_flagged_total" if number:
                    counted["flagged"][labels["rule"]] = number
    return counted
