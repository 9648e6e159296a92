"""Records for the ingestion tests, and the batches they arrive in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from k2.ingestion.judging import BatchJudge, JudgedBatch, PartitionState
from k2.ingestion.log_reader import Place, PolledBatch
from k2.ingestion.registry import PackagedRegistry
from k2.records.decode import BatchDecoder, DecodedBatch
from k2.records.definition import EXCHANGES, TRADE, RecordType, topic
from k2.records.encode import RecordEncoder
from k2.settings import DeduplicationSettings, SequenceSettings

EVENT_TIME_NS = 1_763_000_000_123_456_789
RECEIVE_TIME_NS = EVENT_TIME_NS + 1_000_001
CRYPTO_TRADES = topic("crypto", "trades")
HERE: Place = (CRYPTO_TRADES, 0)
REGISTRY = PackagedRegistry()


def trade(session_sequence: int, source_sequence: int | None = None, **changes: Any) -> dict[str, Any]:
    """A sound trade of BINANCE:BTCUSDT."""
    return {
        "session": "session-1",
        "session_sequence": session_sequence,
        "exchange": "BINANCE",
        "symbol": "BTCUSDT",
        "asset_class": "crypto",
        "event_time_ns": EVENT_TIME_NS + session_sequence * 1_000,
        "receive_time_ns": RECEIVE_TIME_NS + session_sequence * 1_000,
        "source_sequence": source_sequence,
        "trade_id": None,
        "price": "97123.45",
        "quantity": "0.001",
        "side": "BUY",
        "venue": None,
        "conditions": None,
        "vendor_data": {},
        **changes,
    }


def quote(session_sequence: int, **changes: Any) -> dict[str, Any]:
    """A sound quote of BINANCE:BTCUSDT."""
    common = trade(session_sequence)
    for name in ("trade_id", "price", "quantity", "side"):
        del common[name]
    sides = {"bid_price": "99.5", "bid_quantity": "1", "ask_price": "100.5", "ask_quantity": "2"}
    return {**common, "quote_id": None, **sides, **changes}


def trades(first: int, last: int, **changes: Any) -> list[dict[str, Any]]:
    """Trades first..last of one session, numbered alike by the exchange."""
    return [trade(number, number, **changes) for number in range(first, last + 1)]


def encoded(record: Mapping[str, Any], record_type: RecordType = TRADE) -> bytes:
    """A record as it lies in the log."""
    return RecordEncoder(record_type, REGISTRY.schema_id(record["asset_class"], record_type)).encode(record)


def decoded(values: Sequence[bytes | None], record_type: RecordType = TRADE) -> DecodedBatch:
    """Columns of message bodies."""
    return BatchDecoder(record_type, REGISTRY.writer_schema).decode(values)


def columns(*records: Mapping[str, Any], record_type: RecordType = TRADE) -> pa.RecordBatch:
    """Decoded columns of records."""
    return decoded([encoded(record, record_type) for record in records], record_type).columns


class Judged:
    """Judges records as a consumer would, keeping the partitions' states from batch to batch."""

    def __init__(
        self,
        record_type: RecordType = TRADE,
        settings: SequenceSettings | None = None,
        exchanges: Sequence[str] = EXCHANGES,
        deduplication: DeduplicationSettings | None = None,
    ) -> None:
        self._record_type = record_type
        self._settings = settings or SequenceSettings()
        self._deduplication = deduplication or DeduplicationSettings()
        self._judge = BatchJudge(record_type, exchanges)
        self.states: dict[Place, PartitionState] = {}

    def batch(self, *records: Mapping[str, Any] | bytes, places: Sequence[Place] | None = None) -> JudgedBatch:
        """Judge one batch; every record is of HERE unless `places` says where each lay."""
        values = [record if isinstance(record, bytes) else encoded(record, self._record_type) for record in records]
        where = list(places or [HERE] * len(values))
        for place in where:
            self.states.setdefault(place, PartitionState.empty(self._settings, self._deduplication))
        return self._judge.judge(polled(values, where), decoded(values, self._record_type), self.states)

    def restart(self) -> None:
        """Replace every state by what its checkpoint gives back."""
        self.states = {
            place: PartitionState.from_arrow(state.to_arrow(), self._settings, self._deduplication)
            for place, state in self.states.items()
        }


def polled(values: Sequence[bytes | None], places: Sequence[Place]) -> PolledBatch:
    """A batch as the log reader gives it; offsets count from 100 in each partition."""
    names = sorted({name for name, _ in places})
    next_offsets: dict[Place, int] = {}
    offsets = []
    for place in places:
        offsets.append(next_offsets.get(place, 100))
        next_offsets[place] = offsets[-1] + 1
    return PolledBatch(
        messages=(),
        values=values,
        topics=np.array([names.index(name) for name, _ in places], np.int32),
        partitions=np.array([partition for _, partition in places], np.int32),
        offsets=np.array(offsets, np.int64),
        topic_names=tuple(names),
        next_offsets=next_offsets,
    )


def numbers(judged: JudgedBatch) -> list[int]:
    """Session numbers of the rows that go to the table."""
    found: list[int] = judged.rows.column("session_sequence").to_pylist()
    return found
