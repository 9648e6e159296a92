"""The processes that benchmarks.ingest compares; each takes a whole log, and prints as JSON what that took.

    python -m benchmarks.ingest_children WHICH --brokers HOST:PORT --messages N --folder FOLDER [--core N]

    k2      K2's consumer as `k2 consume` builds it, everything on: breakers, levels, metrics, both sequence trackers,
            deduplication, validation, dead letters, state checkpoints, audit log
    plain   what people write first: confluent-kafka, fastavro to dicts, a list of rows, PyIceberg's append, offsets
            committed to Kafka; batches as large as K2's, and 500 messages a call, which is faster than what they
            write first
    plain-poll  the same with one message a call, as in every introduction
    stages  the least that any such consumer must do, stage by stage, each alone: messages out of the client, bytes to
            columns, one sequence check, a tuned Parquet file

Times begin when the partitions are assigned and end with the last commit; imports, compiling and joining the group are
left out of all of them alike. Core seconds are those of all threads of the process, the Kafka client's included.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from pyiceberg.catalog.sql import SqlCatalog

from benchmarks.filled_log import TOPIC, log_ends
from benchmarks.tables import fill_table
from k2.assembly.consuming import build_consumer, collect_seldom
from k2.assembly.tables import create_tables
from k2.embedded.platform import write_settings
from k2.ingestion.consumer import Step
from k2.ingestion.judging import BatchJudge, PartitionState
from k2.ingestion.kafka import consumer_configuration
from k2.ingestion.log_reader import MESSAGES_A_CALL, PolledBatch
from k2.ingestion.registry import PackagedRegistry
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.records.decode import FRAME_BYTES, BatchDecoder, DecodedBatch
from k2.records.definition import TRADE
from k2.records.schemas import avro_schema, table_schema
from k2.settings import KafkaSettings, SequenceSettings, Settings, load_settings
from k2.storage.parquet import write_options

BATCH_ROWS = 100_000
Figures = dict[str, Any]


class Watch:
    """Wall and core seconds since `start`."""

    def start(self) -> None:
        """Begin to count."""
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds by the clock, and of all cores."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def prepared_settings(folder: Path, kafka: KafkaSettings) -> Settings:
    """Settings of a platform of its own in a folder, with its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, kafka.bootstrap_servers, api_port=0)
    settings = load_settings(folder)
    create_tables(settings)
    return settings


def run_k2(
    kafka: KafkaSettings, messages: int, folder: Path, profile: Path | None = None, rows_before: int = 0
) -> Figures:
    """The whole log through K2's consumer, into a table that holds so many rows of another topic already."""
    settings = prepared_settings(folder, kafka)
    if rows_before:
        fill_table(settings.storage, rows_before)
    watch, seconds, steps = Watch(), [0.0, 0.0], dict.fromkeys((step.name.lower() for step in Step), 0.0)
    last = [0.0]

    def on_step(step: Step, batch: int) -> None:
        if step is Step.ASSIGN:
            watch.start()
            last[0] = 0.0
            return
        wall, core = watch.read()
        steps[step.name.lower()] += wall - last[0]
        last[0] = wall
        if step is Step.COMMIT:
            seconds[:] = wall, core
            if consumer.progress()[0] >= messages:
                consumer.stop()

    metrics = Metrics()
    consumer = build_consumer(settings, metrics, on_step)
    collect_seldom()
    if profile is None:
        consumer.run()
    else:
        _profiled(consumer.run, profile)
    taken = metrics.value("k2_messages_received_total", {"data_type": TRADE.data_type})
    duplicates = metrics.value("k2_duplicates_detected_total", {"data_type": TRADE.data_type})
    if (taken, duplicates) != (messages, 0):
        raise SystemExit(f"the table took in {taken:g} of {messages} messages, {duplicates:g} of them for duplicates")
    return {"seconds": seconds[0], "core_seconds": seconds[1], "steps": steps}


def run_plain(kafka: KafkaSettings, messages: int, folder: Path, polls: bool = False) -> Figures:
    """The whole log through what people write first."""
    folder.mkdir(parents=True, exist_ok=True)
    # PyIceberg gives the columns ids of its own.
    schema = pa.schema([pa.field(f.name, _without_ids(f.type), f.nullable) for f in table_schema(TRADE)])
    # Without partitions, which append would need another library for; that spares it the division by day and exchange.
    catalog = SqlCatalog("plain", uri=f"sqlite:///{folder}/catalog.db", warehouse=str(folder / "warehouse"))
    catalog.create_namespace("plain")
    table = catalog.create_table("plain.trades", schema=schema)
    parsed = fastavro.parse_schema(avro_schema(TRADE))
    consumer = Consumer({**consumer_configuration(kafka), "group.id": "plain"})
    watch, rows, taken = Watch(), list[dict[str, Any]](), 0
    consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in log_ends(kafka)])
    watch.start()
    while taken < messages:
        for message in _polled_one(consumer) if polls else consumer.consume(500, 1.0):
            value = message.value()
            assert value is not None
            record = fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), parsed, None)
            assert isinstance(record, dict)
            rows.append(
                {
                    **record,
                    "vendor_data": list(record["vendor_data"].items()),
                    "topic": message.topic(),
                    "kafka_partition": message.partition(),
                    "kafka_offset": message.offset(),
                    "schema_id": 1,
                    "event_time": record["event_time_ns"] // 1_000,
                    "receive_time": record["receive_time_ns"] // 1_000,
                    "sequence_event": "IN_ORDER",
                    "quality_flags": 0,
                }
            )
        if len(rows) >= BATCH_ROWS or taken + len(rows) >= messages:
            table.append(pa.Table.from_pylist(rows, schema=schema))
            consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
            taken += len(rows)
            rows = []
    wall, core = watch.read()
    consumer.close()
    return {"seconds": wall, "core_seconds": core}


def _polled_one(consumer: Consumer) -> list[Message]:
    message = consumer.poll(1.0)
    return [] if message is None else [message]


def _without_ids(of: pa.DataType) -> pa.DataType:
    return pa.map_(pa.string(), pa.string()) if pa.types.is_map(of) else of


def run_stages(kafka: KafkaSettings, messages: int, folder: Path) -> Figures:
    """Each stage alone over the whole log."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = PackagedRegistry()
    decoder = BatchDecoder(TRADE, registry.writer_schema)
    values: list[bytes | None] = []
    stages: dict[str, tuple[float, float]] = {}

    def consume() -> None:
        while len(values) < messages:
            for message in consumer.consume(MESSAGES_A_CALL, 0.1):
                values.append(message.value())

    consumer = Consumer({**consumer_configuration(kafka), "group.id": "stages"})
    consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in log_ends(kafka)])
    stages["consume"] = _timed(consume)
    consumer.close()
    batches = [values[first : first + BATCH_ROWS] for first in range(0, messages, BATCH_ROWS)]
    decoder.decode(batches[0][:100])
    decoded: list[DecodedBatch] = []
    stages["decode"] = _timed(lambda: decoded.extend(decoder.decode(batch) for batch in batches))
    _check_once(decoded[0].columns.slice(0, 100), SequenceBatchTracker(SequenceSettings()))
    tracker = SequenceBatchTracker(SequenceSettings())
    stages["sequence"] = _timed(lambda: _check_all(decoded, tracker))
    judge = BatchJudge(TRADE)
    state = {(TOPIC, 0): PartitionState.empty(SequenceSettings())}
    tables = [judge.judge(polled_batch(one.columns.num_rows), one, state).rows for one in decoded]

    def write() -> None:
        for number, rows in enumerate(tables):
            pq.write_table(rows, folder / f"{number}.parquet", **write_options(rows.schema))

    stages["parquet"] = _timed(write)
    return {
        "seconds": sum(wall for wall, _ in stages.values()),
        "core_seconds": sum(core for _, core in stages.values()),
        "stages": {name: {"seconds": wall, "core_seconds": core} for name, (wall, core) in stages.items()},
    }


def _check_once(records: pa.RecordBatch, tracker: SequenceBatchTracker) -> None:
    tracker.check([records.column("exchange"), records.column("symbol")], records.column("source_sequence"))


def _check_all(decoded: Sequence[DecodedBatch], tracker: SequenceBatchTracker) -> None:
    for one in decoded:
        _check_once(one.columns, tracker)


def polled_batch(rows: int) -> PolledBatch:
    """Coordinates of so many messages of one partition, without the messages."""
    zeros = np.zeros(rows, np.int32)
    return PolledBatch([], [], zeros, zeros, np.arange(rows, dtype=np.int64), (TOPIC,), {})


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    watch = Watch()
    watch.start()
    work()
    return watch.read()


def _profiled(work: Callable[[], object], target: Path) -> None:
    import cProfile

    profile = cProfile.Profile()
    profile.runcall(work)
    profile.dump_stats(target)


def main() -> None:
    """Run one and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest_children")
    parser.add_argument("which", choices=["k2", "plain", "plain-poll", "stages"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--rows-before", type=int, default=0, help="rows that k2's table holds already")
    parser.add_argument("--profile", type=Path, help="keep a cProfile of k2 here; it is slower then")
    options = parser.parse_args()
    configure_logs("WARNING")
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    kafka = KafkaSettings(bootstrap_servers=options.brokers)
    if options.which == "k2":
        figures = run_k2(kafka, options.messages, options.folder, options.profile, options.rows_before)
    else:
        works: dict[str, Callable[[KafkaSettings, int, Path], Figures]] = {
            "plain": run_plain,
            "plain-poll": partial(run_plain, polls=True),
            "stages": run_stages,
        }
        figures = works[options.which](kafka, options.messages, options.folder)
    print(json.dumps({**figures, "messages": options.messages}))


if __name__ == "__main__":
    main()
