"""What each stage of a record's journey takes, in the order in which a record travels.

Run from the checkout: python -m benchmarks.stages [--rows 100000] [--rounds 5] [--json FILE]

    produce   columns to messages, sent and acknowledged by an embedded broker in a process of its own
    consume   messages out of the client, their bodies kept
    decode    bodies to columns
    validate  every rule of the record type
    sequence  both trackers: of the session, and of the exchange
    dedup     ids of records without a number: quotes, the others are told apart by their numbers
    judge     the three as the consumer does them, and the table's columns made
    parquet   the tuned Parquet file alone
    write     file, statistics for the manifest, state checkpoint
    commit    one snapshot
    query     a window of one symbol through the engine, ten seconds of a table of half a million rows
    API       the same windows over HTTP, by one client on one connection

A round does each once; the first is not counted. Core microseconds a record; of commit, query and API milliseconds.
"""

import argparse
import http.client
import json
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as pq
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.deduplication import quotes
from benchmarks.filled_log import TOPIC, embedded_log, fill, trade_records
from benchmarks.harness import Measurement, Report, Sample, interleaved, timed
from benchmarks.ingest_children import polled_batch
from benchmarks.query import Readers, Window, windows, write_table
from benchmarks.serving import api_over
from benchmarks.tables import BenchmarkTable
from k2.ingestion.identifier_window import IdentifierWindow
from k2.ingestion.judging import BatchJudge, PartitionState
from k2.ingestion.kafka import consumer_configuration
from k2.ingestion.log_reader import MESSAGES_A_CALL
from k2.ingestion.record_identity import RecordIdentities
from k2.ingestion.registry import PackagedRegistry
from k2.observability.logs import configure_logs
from k2.records.decode import BatchDecoder
from k2.records.definition import EXCHANGES, QUOTE, TRADE
from k2.records.encode_batch import BatchEncoder
from k2.records.validation import rules_for
from k2.settings import DeduplicationSettings, KafkaSettings, QuerySettings, SequenceSettings
from k2.storage.parquet import write_options

PARTITIONS, TABLE_ROWS, ASKED = 8, 500_000, 20
EACH = ("commit", "query", "API")


def log_tasks(kafka: KafkaSettings, rows: int) -> dict[str, Callable[[], Sample]]:
    """Produce and consume."""

    def consume() -> Sample:
        consumer = Consumer({**consumer_configuration(kafka), "group.id": "stages"})
        consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        values: list[bytes | None] = []

        def take() -> None:
            while len(values) < rows:
                values.extend(message.value() for message in consumer.consume(MESSAGES_A_CALL, 0.1))

        sample = timed(take)
        consumer.close()
        return sample

    # Consumed first: what is produced after it goes beyond what the broker was filled with.
    return {"consume": consume, "produce": lambda: timed(lambda: fill(kafka, rows))}


def record_tasks(folder: Path, rows: int) -> dict[str, Callable[[], Sample]]:
    """From bodies to a snapshot."""
    registry = PackagedRegistry()
    encoder = BatchEncoder(TRADE, "crypto", registry.schema_id("crypto", TRADE))
    values = list(encoder.encode(trade_records(0, rows)).values)
    decoder, judge = BatchDecoder(TRADE, registry.writer_schema), BatchJudge(TRADE)
    decoded, rules = decoder.decode(values), rules_for(TRADE, EXCHANGES)
    columns, of_quotes = decoded.columns, quotes(rows, 0, "one")[1].columns
    ready = judge.judge(polled_batch(rows), decoded, {(TOPIC, 0): new_state()}).rows
    table, options = BenchmarkTable(folder), write_options(ready.schema)
    last = [table.write(ready)]

    def sequence() -> Sample:
        state = new_state()
        session, exchange, symbol = (columns.column(name) for name in ("session", "exchange", "symbol"))

        def check() -> None:
            state.session.check([session, exchange, symbol], columns.column("session_sequence"))
            state.source.check([exchange, symbol], columns.column("source_sequence"))

        return timed(check)

    def deduplicate() -> Sample:
        window, identities = IdentifierWindow(DeduplicationSettings()), RecordIdentities(QUOTE)

        def recognise() -> None:
            identified = identities.identified(of_quotes)
            assert identified is not None
            window.recognise(identities.of(of_quotes, identified))

        return timed(recognise)

    def judged() -> Sample:
        state = {(TOPIC, 0): new_state()}
        return timed(lambda: judge.judge(polled_batch(rows), decoded, state))

    def write() -> None:
        last[0] = table.write(ready)

    return {
        "decode": lambda: timed(lambda: decoder.decode(values)),
        "validate": lambda: timed(lambda: [rule.broken(columns) for rule in rules]),
        "sequence": sequence,
        "dedup": deduplicate,
        "judge": judged,
        "parquet": lambda: timed(lambda: pq.write_table(ready, folder / "bare.parquet", **options)),
        "write": lambda: timed(write),
        "commit": lambda: timed(lambda: table.commit(*last[0])),
    }


def query_tasks(folder: Path, api_url: str, readers: Readers) -> dict[str, Callable[[], Sample]]:
    """ASKED windows through the engine, and the same over HTTP."""
    address = urllib.parse.urlparse(api_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    asked = windows(TABLE_ROWS, ASKED)

    def over_http(window: Window) -> int:
        query = {"exchange": "BINANCE", "symbol": window.symbol, "limit": 10_000}
        query |= {"start_time": window.start_ns, "end_time": window.end_ns}
        connection.request("GET", f"/v1/trades?{urllib.parse.urlencode(query)}")
        return len(json.loads(connection.getresponse().read())["data"])

    if [over_http(window) for window in asked] != [readers.k2(window) for window in asked]:
        raise RuntimeError("API and engine do not find the same rows")
    return {
        "query": lambda: timed(lambda: [readers.k2(window) for window in asked]),
        "API": lambda: timed(lambda: [over_http(window) for window in asked]),
    }


def new_state() -> PartitionState:
    """A state that has seen nothing."""
    return PartitionState.empty(SequenceSettings())


def figures(samples: Mapping[str, list[Sample]], rows: int) -> list[Measurement]:
    """Core microseconds a record; milliseconds by the clock of what is done once for many."""
    found = []
    for name, taken in samples.items():
        if name in EACH:
            times = 1 if name == "commit" else ASKED
            found.append(Measurement(name, "ms", tuple(one.seconds / times * 1e3 for one in taken)))
        else:
            found.append(Measurement(name, "core us/record", tuple(one.core_seconds / rows * 1e6 for one in taken)))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What each stage takes.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/stages.json")
    options = parser.parse_args()
    configure_logs("WARNING")
    parameters = {"rows": options.rows, "rounds": options.rounds}
    report = Report("stages", f"each stage of {options.rows:,} trades", parameters)
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as name:
        folder = Path(name)
        for part in ("records", "data"):
            (folder / part).mkdir()
        readers = Readers(write_table(folder / "data", TABLE_ROWS), QuerySettings())
        try:
            with (
                api_over(folder / "data", folder / "api.log") as api_url,
                embedded_log(folder, options.rows, PARTITIONS) as log,
            ):
                tasks = {
                    **log_tasks(log.kafka, options.rows),
                    **record_tasks(folder / "records", options.rows),
                    **query_tasks(folder, api_url, readers),
                }
                report.measurements = figures(interleaved(tasks, options.rounds), options.rows)
        finally:
            readers.pool.close()
    report.show()
    print(f"kept in {report.write(options.json)}")


if __name__ == "__main__":
    main()
