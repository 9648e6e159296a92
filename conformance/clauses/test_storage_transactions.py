"""Every attempt to change a table is told, whether it held or not, and the metrics equal the tables' history.

A failed commit MUST be logged with its error, its error type and the state before (ICE-2b). The eight transaction
behaviours MUST hold on running consumers (ICE-2d), and `iceberg_transactions_total` and `iceberg_transaction_rows` MUST
be exported with exactly their declared labels and equal the history of the tables (ICE-3a).
"""

from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.silence import METRICS as SERVE_METRICS
from conformance.drivers.silence import metrics_url
from conformance.drivers.transactions import (
    COMMITTED,
    FAILED,
    audit_entries,
    exported,
    logged,
    observe_transactions,
    table_snapshots,
)
from conformance.history import HistoryWriter
from conformance.stacks.base import CutPlan, NewStack, Stack
from k2.embedded.processes import ChildProcess
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import QUOTE, TRADE, RecordType

CUTS = 4
BATCH_ROWS = 100
RECORDS = 3_000
AT_ONCE = {"K2_RETRY__FIRST_WAIT_SECONDS": "0.01", "K2_RETRY__LONGEST_WAIT_SECONDS": "0.02"}
LABELS = {"exchange": "BINANCE", "asset_class": "crypto"}
TOTAL, ROWS = "iceberg_transactions_total", "iceberg_transaction_rows"
TOLD = {
    "table", "exchange", "asset_class", "record_count", "snapshot_id_before", "snapshot_id_after",
    "sequence_number_before", "sequence_number_after", "transaction_duration_ms", "total_records", "total_data_files",
    "added_data_files", "added_records", "added_files_size_bytes",
}  # fmt: skip
TOLD_OF_FAILURE = {"table", "record_count", "snapshot_id_before", "sequence_number_before", "error", "error_type"}


@pytest.mark.clause(
    name="transactions/failures",
    claims=("ICE-2b", "ICE-2c"),
    checker="audit",
    title="A commit that fails is logged with its error and the state before, also one that held all the same",
    minimum_samples=10,
    remedy="see TransactionLog.failed and settle in k2/storage/transaction_log.py",
)
def test_every_attempt_is_told_and_counted(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    metrics = clause.part(
        "transactions/metrics", ("ICE-3a",), "facts", "Both metrics, with exactly their labels, equal the history", 8
    )
    behaviours = clause.part("transactions/behaviours", ("ICE-2d",), "facts", "The 8 transaction behaviours hold", 8)
    with (
        new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=61, expected_failures=CUTS) as history,
    ):
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=61, records=RECORDS, trade_share=0.5)))
        plan = CutPlan(CUTS, tmp_path / "cuts.jsonl")
        trades = stack.start_consumer("trades", plan, {**AT_ONCE, **SERVE_METRICS})
        quotes = stack.start_consumer("quotes", environment=SERVE_METRICS)
        urls = {TRADE: metrics_url(trades), QUOTE: metrics_url(quotes)}
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: trades.returncode() is None)
        with metrics.history(seed=61) as seen:
            for record_type, url in urls.items():
                observe_metrics(seen, stack, record_type, url, CUTS if record_type is TRADE else 0)
        with behaviours.history(seed=61) as seen:
            observe_behaviours(seen, stack, trades, quotes, urls)
        trades.stop()
        quotes.stop()
        observe_transactions(history, stack, ["trades", "quotes"])
    clause.judge()
    metrics.judge()
    behaviours.judge()


def observe_metrics(history: HistoryWriter, stack: Stack, record_type: RecordType, url: str, failures: int) -> None:
    """Facts: the samples of one consumer are those that the history of its table makes."""
    labels = {**LABELS, "table": record_type.table}
    snapshots = table_snapshots(stack, record_type.table)
    rows = sum(snapshot["added_records"] for snapshot in snapshots)
    failed = [[{"status": "failed", **labels}, float(failures)]] if failures else []
    expected = {
        TOTAL: [*failed, [{"status": "success", **labels}, float(len(snapshots))]],
        f"{ROWS}_count": [[labels, float(len(snapshots))]],
        f"{ROWS}_sum": [[labels, float(rows)]],
    }
    name = record_type.data_type
    found = {each: sorted(map(list, samples), key=str) for each, samples in exported(url).items()}
    for each, samples in expected.items():
        record_fact(history, f"{each} of {name}", samples, found.get, each)
    record_fact(history, f"nothing else of {name}", sorted(expected), sorted, found)


def observe_behaviours(
    history: HistoryWriter, stack: Stack, trades: ChildProcess, quotes: ChildProcess, urls: dict[RecordType, str]
) -> None:
    """Facts: the eight behaviours, as a running consumer's log, audit log and metrics show them."""
    committed, failed = logged(trades, COMMITTED), logged(trades, FAILED)
    snapshots = table_snapshots(stack, TRADE.table)
    by_id = {snapshot["snapshot_id"]: snapshot for snapshot in snapshots}
    pairs = [[line.get("snapshot_id_before"), line["snapshot_id_after"]] for line in committed]
    parents = [[by_id[after]["parent_id"], after] for _, after in pairs]
    record_fact(history, "1 snapshots before and after are told", parents, lambda: pairs)
    found = exported(urls[TRADE])
    record_fact(history, "2 successes are counted", len(snapshots), counted, found, "success")
    rows = sum(snapshot["added_records"] for snapshot in snapshots)
    record_fact(history, "3 rows are observed", rows, lambda: int(found[f"{ROWS}_sum"][0][1]))
    durations = [line["transaction_duration_ms"] > 0 for line in committed]
    record_fact(history, "4 durations are told", [True] * len(committed), lambda: durations)
    told = [sorted(TOLD_OF_FAILURE - set(line)) for line in failed[1:]]
    record_fact(history, "5 failures tell error and state before", [[]] * (CUTS - 1), lambda: told)
    record_fact(history, "6 failures are counted", CUTS, counted, found, "failed")
    first = next(entry for entry in audit_entries(stack.settings.storage.audit_log) if entry["table"] == TRADE.table)
    record_fact(history, "7 the first has nothing before it", [None, None], befores, first)
    told_of_quotes = [sorted(TOLD - set(line)) for line in logged(quotes, COMMITTED)[1:]]
    expected: list[Any] = [[]] * (len(table_snapshots(stack, QUOTE.table)) - 1)
    record_fact(history, "8 quotes are told as trades are", expected, lambda: told_of_quotes)


def befores(entry: dict[str, Any]) -> list[Any]:
    """The state before, as an entry tells it."""
    return [entry["snapshot_id_before"], entry["sequence_number_before"]]


def counted(found: dict[str, list[tuple[dict[str, str], float]]], status: str) -> int:
    """Transactions of a status."""
    return int(sum(value for labels, value in found.get(TOTAL, []) if labels["status"] == status))
