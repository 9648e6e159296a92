"""One of two writers that race for the same offsets: prepares a batch, waits for the start signal, commits.

Standard input takes a line of JSON for each race (partition, expected_offset, records), then a line `go`; standard
output answers `ready`, then the outcome (winner, or the refusal). It uses the platform's own writer, catalog and state.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from conformance.drivers.table_rows import rows_of
from k2.assembly.tables import open_catalog
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.ingestion.judging import PartitionState
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE, topic
from k2.settings import Settings, load_settings
from k2.storage.audit import TransactionAuditLog
from k2.storage.progress import PartitionKey, TopicIdentity
from k2.storage.writer import Advance, TableWriter

CLUSTER_ID = "race"
TOPIC = topic("crypto", "trades")


def build_writer(settings: Settings) -> TableWriter:
    """A writer as a consumer has it."""
    audit = TransactionAuditLog(settings.storage.audit_log)
    return TableWriter(TRADE, open_catalog(settings), audit, Metrics(), SystemClock(), lambda: str(uuid.uuid4()))


def race(writer: TableWriter, settings: Settings, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare, say so, wait for the signal, commit."""
    partition, expected = entry["partition"], entry["expected_offset"]
    records = entry["records"]
    rows: pa.Table = rows_of(records, TOPIC, partition, expected or 0)
    key, next_offset = PartitionKey(CLUSTER_ID, TOPIC, partition), (expected or 0) + len(records)
    written = writer.write_rows(rows)
    state = writer.write_state(PartitionState.empty(settings.sequence).to_arrow(), key, next_offset)
    print("ready", flush=True)
    sys.stdin.readline()
    topics = {f"{CLUSTER_ID}/{TOPIC}": TopicIdentity(2)}
    try:
        writer.commit(written, {key: Advance(expected, next_offset, state)}, topics, f"race to {next_offset}")
    except K2Error as error:
        return {"won": False, "error": type(error).__name__, "message": str(error)}
    return {"won": True}


def main() -> None:
    """Race until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m conformance.stacks.racing_writer")
    parser.add_argument("--data-dir", type=Path, required=True)
    settings = load_settings(parser.parse_args().data_dir)
    configure_logs(settings.log_level)
    writer = build_writer(settings)
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(race(writer, settings, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
