"""Clean histories of the record's journey: fed, logged, stored, dead-lettered and answered, as they should be.

What is clean is not simple. Of every hundred records one was sent twice because the first acknowledgement got lost, one
because the first attempt did, one failed, and one was never acknowledged and arrived all the same. Source numbers
repeat and start over. Poison messages lie between the good ones, one of them alone in its batch. Answers come from
different snapshots, with maps in another order and prices as text; one merges the tail of the log.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conformance.history import Header, History, Observation, Operation, OperationOutcome
from conformance.planted.records import (
    ASSET_CLASSES,
    DATA_TYPES,
    EXCHANGES,
    MAP,
    QUOTES,
    START_NS,
    SYMBOLS,
    TRADES,
    BoolArray,
    IntArray,
    Records,
    make_records,
    running_count,
)

SECOND_NS = 1_000_000_000
SCHEMA_IDS = {TRADES: 3, QUOTES: 4}
NEVER_LANDED_FROM = 20
STAGES = ("fed", "logged", "stored", "answered", "dead_letters", "snapshots")
_ODD_EVERY = 100
_SENT_TWICE_FROM, _RETRIED_FROM, _FAILED_FROM, _UNACKNOWLEDGED_FROM = 40, 60, 80, 20
_POISON_EVERY = 120
_BATCHES = 5
_PROGRESS = pa.list_(pa.struct([("topic", pa.string()), ("partition", pa.int32()), ("next_offset", pa.int64())]))


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """The messages of one data type, in the order the broker took them.

    Attributes:
        records: what was fed.
        record: for each message, the row of its record; -1 for poison.
        key, offset, batch: for each message. A key is a partition of a topic of its own.
        attempt: for each attempt to produce: the row of its record.
        outcome: for each attempt: ok, fail or unknown.
        message: for each attempt: its message; -1 if it left none.
    """

    records: Records
    record: IntArray
    key: IntArray
    offset: IntArray
    batch: IntArray
    attempt: IntArray
    outcome: list[str]
    message: IntArray

    @property
    def topics(self) -> pa.Array:
        """The topic of each message."""
        return pa.array(np.char.add(np.char.add("market.", ASSET_CLASSES[self.key]), f".{self.records.data_type}"))

    @property
    def partitions(self) -> pa.Array:
        """The partition of each message."""
        return pa.array(self.key % 2, pa.int32())

    @property
    def kept(self) -> IntArray:
        """The messages that become rows: good, the first of their record, and no repeated source number."""
        good = np.flatnonzero(self.record >= 0)
        first = good[np.sort(np.unique(self.record[good], return_index=True)[1])]
        return first[~self.records.repeated[self.record[first]]]


def clean_journey(
    seed: int, records: int = 600, checker: str = "provenance", stages: tuple[str, ...] = STAGES, **parameters: object
) -> History:
    """A faultless history with that many records, half of each data type, and those stages."""
    random = np.random.default_rng(seed)
    operations: list[Operation] = []
    observations: list[Observation] = []
    for data_type in DATA_TYPES:
        log = _make_log(data_type, records // 2, random)
        snapshots = _snapshots(log, random)
        stored = _stored(log, snapshots)
        requests, answered = _answers(log, snapshots, stored)
        if "answered" in stages:
            operations.extend(requests)
        tables = {
            "fed": _fed(log),
            "logged": _logged(log),
            "stored": stored,
            "answered": answered,
            "dead_letters": _dead_letters(log),
            "snapshots": snapshots,
        }
        observations.extend(Observation(stage, tables[stage], data_type) for stage in stages)
    operations.append(operation("harness", "drain", START_NS + 100 * SECOND_NS, {}))
    header = Header(
        clause=f"planted/{checker}",
        claims=(),
        checker=checker,
        seed=seed,
        stack="embedded",
        started_wall_ns=START_NS,
        parameters={"required_stages": list(stages), **parameters},
    )
    return History(header, tuple(operations), tuple(observations))


def operation(process: str, action: str, wall_ns: int, attributes: dict[str, Any]) -> Operation:
    """An operation that went well and took a millisecond."""
    monotonic_ns = wall_ns - START_NS
    return Operation(process, action, OperationOutcome.OK, monotonic_ns, monotonic_ns + 1_000_000, wall_ns, attributes)


def _make_log(data_type: str, count: int, random: np.random.Generator) -> Log:
    place = np.arange(count) % _ODD_EVERY
    sent_twice, retried = place == _SENT_TWICE_FROM, place == _RETRIED_FROM
    failed, unacknowledged = place == _FAILED_FROM, place == _UNACKNOWLEDGED_FROM
    records = make_records(data_type, count, random, ~(sent_twice | retried | failed | unacknowledged))

    attempt = np.repeat(np.arange(count), 1 + (sent_twice | retried))
    is_first = np.r_[True, attempt[1:] != attempt[:-1]]
    unknown = is_first & (sent_twice | retried | unacknowledged)[attempt]
    landed = ~failed[attempt] & ~(is_first & retried[attempt])
    outcome = np.select([failed[attempt], unknown], ["fail", "unknown"], "ok").tolist()

    arrivals = attempt[landed]
    poison_at = np.arange(_POISON_EVERY // 2, len(arrivals), _POISON_EVERY)
    record = np.insert(arrivals, poison_at, -1)
    key = np.where(record >= 0, records.key[record], 0)
    message = np.full(len(attempt), -1, dtype=np.int64)
    message[landed] = np.flatnonzero(record >= 0)
    return Log(records, record, key, running_count(key), _batches(record), attempt, outcome, message)


def _batches(record: IntArray) -> IntArray:
    """The batch of each message; one batch is a single poison message."""
    alone = int(np.flatnonzero(record == -1)[-1])
    ends = sorted({*np.linspace(0, len(record), _BATCHES + 1).astype(int)[1:-1].tolist(), alone, alone + 1})
    return np.searchsorted(np.array(ends), np.arange(len(record)), side="right").astype(np.int64)


def _fed(log: Log) -> pa.Table:
    acknowledged = np.array([outcome == "ok" for outcome in log.outcome])
    fed = log.records.table.take(pa.array(log.attempt))
    fed = fed.append_column("outcome", pa.array(log.outcome))
    message = pa.array(log.message, mask=~acknowledged)
    return _with_coordinates(fed, log, message)


def _logged(log: Log) -> pa.Table:
    rows = pa.array(log.record, mask=log.record < 0)
    logged = _with_coordinates(log.records.table.take(rows), log, pa.array(np.arange(len(log.record))))
    for name in ("session", "exchange", "symbol", "asset_class"):
        column = logged[name].dictionary_encode()
        logged = logged.set_column(logged.schema.get_field_index(name), name, column)
    poison = log.record < 0
    count = len(poison)
    logged = logged.append_column("schema_id", pa.array(np.full(count, SCHEMA_IDS[log.records.data_type]), mask=poison))
    logged = logged.append_column("decode_error", pa.array(np.full(count, "body ends early"), mask=~poison))
    return logged.take(pa.array(np.lexsort((log.offset, log.key))))


def _stored(log: Log, snapshots: pa.Table) -> pa.Table:
    kept = log.kept
    stored = _with_coordinates(log.records.table.take(pa.array(log.record[kept])), log, pa.array(kept))
    count = len(kept)
    snapshot_ids = snapshots["snapshot_id"].take(pa.array(log.batch[kept]))
    stored = stored.append_column("schema_id", pa.array(np.full(count, SCHEMA_IDS[log.records.data_type]), pa.int32()))
    stored = stored.append_column("snapshot_id", snapshot_ids)
    stored = stored.append_column("sequence_event", pa.nulls(count, pa.string()))
    for name in ("event_time", "receive_time"):
        micros = pa.array(stored[f"{name}_ns"].to_numpy() // 1_000, pa.timestamp("us", tz="UTC"))
        stored = stored.append_column(name, micros)
    return stored


def _dead_letters(log: Log) -> pa.Table:
    poison = np.flatnonzero(log.record < 0)
    reasons = pa.table({"reason": pa.array(np.full(len(poison), "malformed"))})
    return _with_coordinates(reasons, log, pa.array(poison))


def _with_coordinates(table: pa.Table, log: Log, message: pa.Array) -> pa.Table:
    for name, column in (
        ("topic", log.topics),
        ("kafka_partition", log.partitions),
        ("kafka_offset", pa.array(log.offset)),
    ):
        table = table.append_column(name, column.take(message))
    return table


def _snapshots(log: Log, random: np.random.Generator) -> pa.Table:
    count = int(log.batch.max()) + 1
    snapshot_ids = random.integers(10**17, 10**18, count).tolist()
    topics = log.topics
    rows = []
    for batch in range(count):
        taken = log.batch <= batch
        progress = [
            {
                "topic": topics[int(np.argmax(log.key == key))].as_py(),
                "partition": key % 2,
                "next_offset": int(log.offset[taken & (log.key == key)].max()) + 1,
            }
            for key in range(len(SYMBOLS))
            if (taken & (log.key == key)).any()
        ]
        rows.append(progress)
    return pa.table(
        {
            "snapshot_id": pa.array(snapshot_ids, pa.int64()),
            "parent_id": pa.array([None, *snapshot_ids[:-1]], pa.int64()),
            "committed_wall_ns": pa.array(START_NS + np.arange(1, count + 1) * SECOND_NS),
            "progress": pa.array(rows, _PROGRESS),
        }
    )


def _answers(log: Log, snapshots: pa.Table, stored: pa.Table) -> tuple[list[Operation], pa.Table]:
    """Requests after the second and the last snapshot, for each key a window of time; and some that are special."""
    last = snapshots.num_rows - 1
    times = stored["event_time_ns"].to_numpy()
    start, end = int(np.quantile(times, 0.1)), int(np.quantile(times, 0.9))
    window = {"start_time_ns": start, "end_time_ns": end}
    asked: list[tuple[int, dict[str, Any]]] = [
        (batch, {"exchange": EXCHANGES[key].item(), "symbol": SYMBOLS[key].item(), **window})
        for batch in (1, last)
        for key in range(len(SYMBOLS))
    ]
    asked.append((last, {"exchange": EXCHANGES[0].item(), "limit": 5}))
    asked.append((last, {"exchange": "NASDAQ"}))
    asked.append((1, {"symbol": SYMBOLS[2].item(), "hybrid": True}))
    operations, tables = [], []
    for number, (batch, filters) in enumerate(asked):
        seen = log.batch[log.kept] <= batch + bool(filters.get("hybrid"))
        rows = np.flatnonzero(seen & _matching(stored, filters))[: filters.get("limit")]
        name = f"{log.records.data_type}-{number}"
        snapshot_id = snapshots["snapshot_id"][batch].as_py()
        committed = snapshots["committed_wall_ns"][batch].as_py()
        attributes = {
            "request": name,
            "data_type": log.records.data_type,
            "snapshot_id": snapshot_id,
            "status": 200,
            **filters,
        }
        operations.append(operation("api", "request", committed + SECOND_NS // 3, attributes))
        tables.append(_answer(stored.take(pa.array(rows)), name, snapshot_id))
    return operations, pa.concat_tables(tables)


def _matching(stored: pa.Table, filters: dict[str, Any]) -> BoolArray:
    chosen = np.ones(stored.num_rows, dtype=np.bool_)
    for name in ("exchange", "symbol"):
        if name in filters:
            chosen &= np.asarray(pc.equal(stored[name], filters[name]).to_numpy(), dtype=np.bool_)
    times = stored["event_time_ns"].to_numpy()
    chosen &= (times >= filters.get("start_time_ns", 0)) & (times < filters.get("end_time_ns", np.inf))
    return chosen


def _answer(rows: pa.Table, request: str, snapshot_id: int) -> pa.Table:
    """Rows as an API gives them: no bookkeeping, prices as text, maps in whatever order."""
    answer = rows.drop_columns(["snapshot_id", "sequence_event"])
    for name in answer.column_names:
        field = answer.schema.field(name)
        index = answer.schema.get_field_index(name)
        if pa.types.is_decimal(field.type):
            answer = answer.set_column(index, name, answer[name].cast(pa.string()))
        elif pa.types.is_map(field.type):
            entries = [list(reversed(value)) for value in answer[name].to_pylist()]
            answer = answer.set_column(index, name, pa.array(entries, MAP))
    answer = answer.append_column("request", pa.array([request] * len(answer), pa.string()))
    return answer.append_column("snapshot_id", pa.array([snapshot_id] * len(answer), pa.int64()))
