"""Two readers that are not K2 read what the API answers.

What the API answers MUST equal, in count and hash, what PyIceberg scans and what DuckDB's own iceberg_scan reads
(API-1), of the current snapshot and of an older one (QRY-3). Where the second reader cannot be had, nothing is said.
"""

import itertools

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.fingerprints import (
    NAMES,
    Fingerprint,
    answered_fingerprint,
    fingerprint,
    scanned_fingerprint,
)
from conformance.drivers.independent_reader import ReaderMissingError, iceberg_scan, reader_python
from conformance.drivers.table_view import open_table
from conformance.stacks.base import PowerMissingError, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

ROUNDS, RECORDS = 2, 2_500


@pytest.mark.clause(
    name="independent_readers",
    claims=("API-1a", "QRY-3a"),
    checker="facts",
    title="PyIceberg's scan and DuckDB's iceberg_scan agree with the API on counts and hashes",
    minimum_samples=5 * RECORDS,
    remedy="see k2/storage/writer.py and k2/query/statements.py",
)
def test_independent_readers_agree_with_the_api(stack: Stack, clause: ClauseRun) -> None:
    try:
        reader_python()
    except ReaderMissingError as error:
        pytest.skip(str(error))
    storage = stack.settings.storage
    if storage.warehouse.startswith("s3://"):
        raise PowerMissingError("iceberg_scan reads an object store through an extension that no package registry has")
    with clause.history(seed=64) as history:
        stack.start_consumer("trades")
        url = stack.start_api()
        older = None
        records = iter(SyntheticExchange(SyntheticSettings(seed=64, records=ROUNDS * RECORDS, trade_share=1.0)))
        for _ in range(ROUNDS):
            fed = feed_records(stack, itertools.islice(records, RECORDS))
            wait_until_drained(stack, history, fed.acknowledged_ends())
            if older is None:
                older = open_table(storage, TRADE.table).current_snapshot()
        assert older is not None
        stack.process("consumer-trades").stop()
        for name, snapshot_id in (("now", None), ("then", older.snapshot_id)):
            answered = answered_fingerprint(url, {} if snapshot_id is None else {"snapshot_id": snapshot_id})
            record_fact(
                history, f"PyIceberg, {name}", answered, scanned_fingerprint, storage, TRADE.table, snapshot_id,
                samples=answered[0],
            )  # fmt: skip
            record_fact(history, f"iceberg_scan, {name}", answered, scan, stack, snapshot_id, samples=answered[0])
    clause.judge()


def scan(stack: Stack, snapshot_id: int | None) -> Fingerprint:
    """Of every trade that iceberg_scan finds."""
    metadata = open_table(stack.settings.storage, TRADE.table).metadata_location
    return fingerprint(iceberg_scan(metadata, NAMES, snapshot_id))
