"""Spark Structured Streaming and the Iceberg sink of Kafka Connect, each taking in a whole topic.

Both run with their own choices but for what would be unlike K2: two cores, and commits of as many rows as are told
(Spark) or of as many as come in five seconds (the sink commits by time). Spark reads the very topic that K2 reads. The
sink does not: its Avro converter asks a schema registry, which this benchmark has none of, so it reads the same trades
as JSON from a topic of its own on the same broker.
"""

import hashlib
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import ROOT
from benchmarks.peers.java import (
    BUILT,
    HERE,
    JavaProcess,
    PeerMissingError,
    core_seconds,
    free_port,
    jars,
    properties,
)
from k2.records.definition import TRADE
from k2.records.schemas import avro_schema

COMMIT_SECONDS = 5
TAKE_IN_SECONDS = 300.0
_CONNECT = "org.apache.kafka.connect.cli.ConnectStandalone"


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What a peer did with a topic.

    Attributes:
        messages: it took in.
        seconds: by the clock, from its start (Spark) or from its first commit to its last (the sink).
        core_seconds: in the same time.
        best_per_second: of its best micro-batch; of the whole where it has none.
    """

    messages: int
    seconds: float
    core_seconds: float
    best_per_second: float


def spark_python() -> Path:
    """The interpreter of Spark's environment, made where it is missing.

    Raises:
        PeerMissingError: it cannot be made.
    """
    locked, folder = HERE / "spark" / "requirements.txt", BUILT / "spark-environment"
    python, stamp = folder / "bin" / "python", folder / ".lock-sha256"
    wanted = hashlib.sha256(locked.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        for command in (
            ["venv", "--quiet", "--clear", "--python", ".venv/bin/python", str(folder)],
            ["pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(locked)],
        ):
            done = subprocess.run(
                ["scripts/uv.sh", *command], cwd=ROOT, check=False, capture_output=True, text=True, timeout=900
            )
            if done.returncode:
                raise PeerMissingError(f"Spark's environment: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted)
    return python


def by_spark(brokers: str, topic: str, messages_a_batch: int, folder: Path) -> TakenIn:
    """The whole topic through Spark: micro-batches of so many messages, all that is there and no more.

    Raises:
        PeerMissingError: it cannot be had, or ends with an error.
    """
    folder.mkdir(parents=True)
    schema = folder / "trade.avsc"
    schema.write_text(json.dumps(avro_schema(TRADE)))
    libraries = ",".join(str(path) for path in sorted(jars("spark").glob("*.jar")))
    script = [str(HERE / "spark" / "stream.py"), brokers, topic, str(schema), str(folder), libraries]
    command = [str(spark_python()), *script, str(messages_a_batch)]
    with (folder / "spark.log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert child.stdin is not None
        assert child.stdout is not None
        _answer(child.stdout.readline(), folder)
        process = psutil.Process(child.pid)
        before = core_seconds(process)
        figures = _answer(child.stdout.readline(), folder)
        core = core_seconds(process) - before
        child.stdin.write("\n")
        child.stdin.flush()
        rows = int(_answer(child.stdout.readline(), folder)["rows"])
        child.wait(60)
        child.stdin.close()
        child.stdout.close()
    best = max(one["rows"] / one["seconds"] for one in figures["batches"])
    return TakenIn(rows, float(figures["seconds"]), core, best)


def by_connect(brokers: str, topic: str, messages: int, folder: Path) -> TakenIn:
    """The whole topic through Kafka Connect's Iceberg sink, from its first commit to its last.

    Raises:
        PeerMissingError: it cannot be had, or does not take everything in.
    """
    folder.mkdir(parents=True)
    libraries, catalog = jars("connect"), folder / "catalog.db"
    worker = properties(
        folder / "worker.properties",
        {
            "bootstrap.servers": brokers,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "offset.storage.file.filename": folder / "offsets",
            "listeners": f"http://127.0.0.1:{free_port()}",
            "consumer.max.poll.records": 5_000,
            "consumer.fetch.max.bytes": 52_428_800,
            "consumer.max.partition.fetch.bytes": 10_485_760,
            "consumer.auto.offset.reset": "earliest",
            "plugin.discovery": "only_scan",
        },
    )
    sink = properties(
        folder / "sink.properties",
        {
            # Its group of consumers is called after it, and keeps offsets on the broker.
            "name": f"iceberg-{folder.name}",
            "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector",
            # With two it waited for most of the time; with one it is at its steady rate.
            "tasks.max": 1,
            "topics": topic,
            "iceberg.tables": "peer.trades",
            "iceberg.tables.auto-create-enabled": "true",
            "iceberg.tables.auto-create-props.write.parquet.compression-codec": "zstd",
            "iceberg.catalog.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
            "iceberg.catalog.uri": f"jdbc:sqlite:{catalog}",
            "iceberg.catalog.warehouse": folder / "warehouse",
            "iceberg.control.commit.interval-ms": COMMIT_SECONDS * 1_000,
            "iceberg.control.commit.timeout-ms": 20_000,
            "consumer.override.auto.offset.reset": "earliest",
        },
    )
    arguments = [_CONNECT, str(worker), str(sink)]
    with JavaProcess([libraries], arguments, folder / "connect.log", "3g") as connect:
        commits = _commits(connect, folder / "warehouse", messages)
    (rows, at, core), (last_rows, last_at, last_core) = commits[0], commits[-1]
    seconds, taken = last_at - at, last_rows - rows
    return TakenIn(taken, seconds, last_core - core, taken / seconds)


def _commits(connect: JavaProcess, warehouse: Path, messages: int) -> Sequence[tuple[int, float, float]]:
    """Rows in the table, the time and the core seconds so far, at each commit that was seen."""
    seen: list[tuple[int, float, float]] = []
    give_up_at = time.monotonic() + TAKE_IN_SECONDS
    while time.monotonic() < give_up_at and connect.is_running():
        rows = _rows(warehouse)
        if rows > (seen[-1][0] if seen else 0):
            seen.append((rows, time.monotonic(), core_seconds(connect.process)))
        if rows >= messages:
            break
        time.sleep(0.05)
    if len(seen) < 2 or seen[-1][0] < messages:
        raise PeerMissingError(f"the sink took in {seen[-1][0] if seen else 0} of {messages}: see {connect.log}")
    return seen


def _rows(warehouse: Path) -> int:
    """How many rows the newest metadata of the only table says there are."""
    found = sorted(warehouse.glob("**/metadata/*.metadata.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in reversed(found):
        try:
            metadata = json.loads(path.read_text())
        except (OSError, ValueError):
            # Caught while it was written.
            continue
        current = metadata.get("current-snapshot-id")
        summaries = {one["snapshot-id"]: one["summary"] for one in metadata.get("snapshots", ())}
        return int(summaries[current].get("total-records", 0)) if current in summaries else 0
    return 0


def _answer(line: str, folder: Path) -> Mapping[str, Any]:
    if not line:
        raise PeerMissingError(f"Spark ended early: see {folder}/spark.log")
    answer: dict[str, Any] = json.loads(line)
    return answer
