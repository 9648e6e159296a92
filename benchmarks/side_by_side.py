"""Committed ingest beside Spark Structured Streaming and the Iceberg sink of Kafka Connect, on one Kafka broker.

Run from the checkout: python -m benchmarks.side_by_side [--messages 1000000] [--rounds 3] [--json FILE]

A broker of its own, a topic of 4 partitions, the same trades for all (benchmarks/peers/streaming.py says where they
differ). Each takes the topic in with both cores, which it shares with the broker; one after the other, in turn. What is
compared: K2's rate from assignment to last commit with Spark's best micro-batch, and with the sink's steady rate; and
core seconds a message of each process. The goals are 5 times by the clock and 6 times by core seconds. Whatever cannot
be had here is named, and not counted.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.filled_log import TOPIC, FilledLog, fill, trade_records
from benchmarks.harness import Measurement, Ratio, Report
from benchmarks.ingest import taken_in
from benchmarks.peers.java import PeerMissingError, broker, free_port, jars
from benchmarks.peers.streaming import TakenIn, by_connect, by_spark
from k2.settings import KafkaSettings

JSON_TOPIC = "trades-json"
PARTITIONS = 4
SPARK_BATCH = 500_000
K2, SPARK, CONNECT = "K2", "Spark", "Kafka Connect sink"
GOAL_CLOCK, GOAL_CORE = 5.0, 6.0


def by_k2(log: FilledLog, folder: Path) -> TakenIn:
    """The whole topic through K2, on both cores."""
    figures = taken_in("k2", log, folder, None)
    seconds = float(figures["seconds"])
    return TakenIn(log.messages, seconds, float(figures["core_seconds"]), log.messages / seconds)


def create_topics(brokers: str) -> None:
    """The topics, before anything is sent to them."""
    admin = AdminClient({"bootstrap.servers": brokers})
    topics = [NewTopic(name, PARTITIONS, 1) for name in (TOPIC, JSON_TOPIC)]
    topics += [NewTopic("market.equities.trades", PARTITIONS, 1), NewTopic("control-iceberg", 1, 1)]
    for made in admin.create_topics(topics).values():
        made.result(30)


def fill_with_json(brokers: str, messages: int) -> None:
    """The same trades as JSON."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4"})
    for first in range(0, messages, 5_000):
        for row in trade_records(first, min(5_000, messages - first)).to_pylist():
            row |= {
                "price": str(row["price"]),
                "quantity": str(row["quantity"]),
                "vendor_data": dict(row["vendor_data"]),
            }
            while True:
                try:
                    producer.produce(JSON_TOPIC, json.dumps(row), f"BINANCE:{row['symbol']}")
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("not every JSON trade was acknowledged")


def measure(messages: int, rounds: int, folder: Path) -> Report:
    """All of them in turn; what a first round warms up only K2 has, in its files."""
    parameters = {"messages": messages, "rounds": rounds, "partitions": PARTITIONS, "spark_batch": SPARK_BATCH}
    report = Report("side_by_side", f"{messages:,} trades on one broker, both cores", parameters)
    port = free_port()
    brokers = f"127.0.0.1:{port}"
    found: dict[str, list[TakenIn]] = {K2: [], SPARK: [], CONNECT: []}
    with broker(jars("connect"), folder / "broker", port):
        create_topics(brokers)
        kafka = KafkaSettings(bootstrap_servers=brokers)
        fill(kafka, messages)
        fill_with_json(brokers, messages)
        log = FilledLog(kafka, messages)
        ways: dict[str, Callable[[Path], TakenIn]] = {
            K2: lambda place: by_k2(log, place),
            SPARK: lambda place: by_spark(brokers, TOPIC, SPARK_BATCH, place),
            CONNECT: lambda place: by_connect(brokers, JSON_TOPIC, messages, place),
        }
        by_k2(log, folder / "warm-up")
        for number in range(rounds):
            for name, way in ways.items():
                if name not in report.missing:
                    try:
                        found[name].append(way(folder / f"{name.replace(' ', '-')}-{number}"))
                    except PeerMissingError as error:
                        report.missing[name] = str(error)
    fill_report(report, found)
    return report


def fill_report(report: Report, found: dict[str, list[TakenIn]]) -> None:
    """Rates, core seconds, and the ratios with goals."""
    rates: dict[str, Measurement] = {}
    costs: dict[str, Measurement] = {}
    for name, taken in found.items():
        if taken and name not in report.missing:
            whole = Measurement(name, "messages/s", tuple(one.messages / one.seconds for one in taken))
            rates[name] = Measurement(
                f"{name}, best micro-batch", "messages/s", tuple(o.best_per_second for o in taken)
            )
            core = tuple(one.core_seconds / one.messages * 1e6 for one in taken)
            costs[name] = Measurement(f"{name}, core", "us/message", core)
            report.measurements += [whole, costs[name], *([rates[name]] if name == SPARK else [])]
    for peer in (SPARK, CONNECT):
        if peer in rates:
            what = "best micro-batch of Spark" if peer == SPARK else peer
            report.ratios += [
                Ratio.of(f"K2 / {what}, by the clock", rates[K2], rates[peer], at_least=GOAL_CLOCK),
                Ratio.of(f"{peer} / K2, core seconds", costs[peer], costs[K2], at_least=GOAL_CORE),
            ]
    report.details["taken_in"] = {name: [asdict(one) for one in taken] for name, taken in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Committed ingest beside Spark and Kafka Connect.")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/side_by_side.json")
    options: Any = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder:
        try:
            report = measure(options.messages, options.rounds, Path(folder))
        except PeerMissingError as error:
            raise SystemExit(f"not measured: {error}") from None
    report.show()
    print(f"kept in {report.write(options.json)}")


if __name__ == "__main__":
    main()
