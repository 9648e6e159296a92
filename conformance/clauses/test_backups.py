"""After a total loss of catalog and warehouse a backup brings back the same rows and progress, and nothing is lost.

`k2 backup` is taken while the consumer runs. Then catalog and warehouse are lost altogether. `k2 restore` MUST bring
back, of every table, the rows, the snapshots and the progress of the backup's moment, and the consumer MUST go on from
there until every record is in the log, in the table once, and in the API's answer unchanged (OPS-3f). A backup that is
not whole MUST be refused, and a refusal changes nothing.

A state checkpoint that is lost MUST be recovered from by `k2 rollback` (OPS-3e).
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.checkpoint_files import lose_newest_checkpoint
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.log_tap import LogTap
from conformance.drivers.observing import observe_answers, observe_log, observe_tables
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, Stack
from conformance.stacks.external import remove_tables
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES, TRADE

BATCH_ROWS = 200
RECORDS = 1_000
FED_EACH = 500
OBJECTIVE_SECONDS = 15 * 60.0
PROGRESS_EXIT_STATUS = 76
STOP_TIMEOUT_SECONDS = 60.0
REQUIRED = ["fed", "logged", "stored", "answered", "snapshots"]
TITLE = "{} after a total loss, every record is in the log, in the table once, and in the answer"


@pytest.fixture
def stack(tmp_path: Path, new_stack: NewStack) -> Iterator[Stack]:
    """A stack whose consumer commits several small batches."""
    with new_stack(tmp_path, partitions=2, batch_rows=BATCH_ROWS) as running:
        yield running


@pytest.mark.clause(
    name="backups/restored",
    claims=("OPS-3f",),
    checker="recovery",
    title="Restored from a backup after a total loss, every record is in the log, in the table once, and answered",
    minimum_samples=RECORDS,
    remedy="see k2/storage/backup.py",
)
def test_a_backup_brings_everything_back_after_a_total_loss(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    facts = clause.part(
        "backups/same", ("OPS-3f",), "facts", "Restored tables have the rows, snapshots and progress of the backup", 7
    )
    folder, exchange = tmp_path / "backup", trades(61)
    name = "total loss of catalog and warehouse"
    with clause.history(seed=61, required_stages=REQUIRED, expected_recoveries=[name]) as history:
        consumer = stack.start_consumer("trades")
        first = feed_records(stack, next_records(exchange))
        drain(stack, history, first, consumer)
        backup = k2(stack, "backup", str(folder), "--json").objects[0]
        backed_up = tables(stack)
        second = feed_records(stack, next_records(exchange))
        drain(stack, history, second, consumer)
        consumer.stop()
        lost_rows = tables(stack)["rows"] - backed_up["rows"]

        fault_wall_ns = time.time_ns()
        remove_tables(stack.settings)
        symptom = [row["table"] for row in k2(stack, "query", "snapshots", "--json").objects]
        begun_wall_ns = time.time_ns()
        with facts.history() as seen:
            record_refusal(seen, stack, folder)
            restored = type_command(history, stack, name, "restore", str(folder), "--json")
            record_fact(seen, "tables after the restore", backed_up, tables, stack, samples=len(backed_up["snapshots"]))
            record_fact(seen, "rows it says it restored", backed_up["rows"], rows_said, restored)
            record_fact(seen, "rows of the backup", backed_up["rows"], rows_said, backup)
            record_fact(seen, "rows that only Kafka had", FED_EACH, lambda: lost_rows)
        # Before the rest, which may break on what is told here.
        facts.judge()

        consumer = stack.start_consumer("trades")
        third = feed_records(stack, next_records(exchange))
        recovered_wall_ns = drain(stack, history, third, consumer)
        history.operation("operator", "recovery", "ok", attributes={
            "recovery": name,
            "objective_seconds": OBJECTIVE_SECONDS,
            "symptom_expected": [],
            "symptom_observed": symptom,
            "fault_wall_ns": fault_wall_ns,
            "begun_wall_ns": begun_wall_ns,
            "recovered_wall_ns": recovered_wall_ns,
            "acknowledged_before": len(first.items) + len(second.items),
            "acknowledged_after": len(third.items),
        })  # fmt: skip
        observe(history, stack, Fed([*first.items, *second.items, *third.items]))
        write_report(clause.run_directory / "restore.md", backup, restored, lost_rows, fault_wall_ns, recovered_wall_ns)
    clause.judge()


@pytest.mark.clause(
    name="backups/lost_state",
    claims=("OPS-3e",),
    checker="recovery",
    title="After a lost state checkpoint k2 rollback and a restart bring every record back, once",
    minimum_samples=RECORDS,
    remedy="see docs/runbooks/checkpoint-corruption.md and k2/storage/rollback.py",
)
def test_a_lost_state_checkpoint_is_recovered_from(stack: Stack, clause: ClauseRun) -> None:
    exchange, name = trades(62), "lost state checkpoint"
    # A copy in a state store would do as well.
    plain = {"K2_STATE__KIND": "none"}
    with clause.history(seed=62, required_stages=REQUIRED[:4], expected_recoveries=[name]) as history:
        consumer = stack.start_consumer("trades", environment=plain)
        first = feed_records(stack, next_records(exchange))
        drain(stack, history, first, consumer)
        consumer.stop()
        fault_wall_ns = time.time_ns()
        lose_newest_checkpoint(stack, TRADE)
        symptom = stack.start_consumer("trades", environment=plain).wait(STOP_TIMEOUT_SECONDS)
        begun_wall_ns = time.time_ns()
        type_command(history, stack, name, "rollback", "--data-type", "trades", "--dry-run", "--json")
        type_command(history, stack, name, "rollback", "--data-type", "trades", "--json")
        consumer = stack.start_consumer("trades", environment=plain)
        second = feed_records(stack, next_records(exchange))
        recovered_wall_ns = drain(stack, history, second, consumer)
        history.operation("operator", "recovery", "ok", attributes={
            "recovery": name,
            "objective_seconds": OBJECTIVE_SECONDS,
            "symptom_expected": PROGRESS_EXIT_STATUS,
            "symptom_observed": symptom,
            "fault_wall_ns": fault_wall_ns,
            "begun_wall_ns": begun_wall_ns,
            "recovered_wall_ns": recovered_wall_ns,
            "acknowledged_before": len(first.items),
            "acknowledged_after": len(second.items),
        })  # fmt: skip
        observe(history, stack, Fed([*first.items, *second.items]), snapshots=False)
    clause.judge()


def trades(seed: int) -> Iterator[FeedRecord]:
    """Trades of one session, without faults, as many as are asked for."""
    plain = SyntheticSettings(
        seed=seed, records=None, trade_share=1.0, gap_rate=0, duplicate_rate=0, reorder_rate=0, symbols=("DRILL",)
    )
    return iter(SyntheticExchange(plain))


def next_records(exchange: Iterator[FeedRecord]) -> list[FeedRecord]:
    """The next of them."""
    return [next(exchange) for _ in range(FED_EACH)]


def drain(stack: Stack, history: HistoryWriter, fed: Fed, consumer: ChildProcess) -> int | None:
    """When the table had it all, in wall-clock nanoseconds; None where that never came."""
    try:
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
    except TimeoutError:
        return None
    return time.time_ns()


def type_command(history: HistoryWriter, stack: Stack, recovery: str, *arguments: str) -> dict[str, Any]:
    """Type a command of k2, record how it ended, and give back what it says."""
    answer = k2(stack, *arguments)
    attributes = {"recovery": recovery, "place": f"k2 {arguments[0]}", "exit_code": answer.exit_code,
                  "expected_exit_code": 0, "said": answer.stderr[-300:]}  # fmt: skip
    history.operation("operator", "command", "ok", attributes=attributes)
    return answer.objects[0] if answer.exit_code == 0 else {}


def tables(stack: Stack) -> dict[str, Any]:
    """What the table of trades holds: rows, snapshots in order, how far each says it is; or why it cannot be read."""
    try:
        view = view_table(stack.settings.storage, TRADE.table)
    except (OSError, ValueError) as error:
        return {"rows": -1, "snapshots": [], "error": str(error)}
    described = view.snapshots.select(["snapshot_id", "progress"]).to_pylist()
    return {"rows": view.rows.num_rows, "snapshots": described}


def rows_said(summary: dict[str, Any]) -> int:
    """The rows of trades that backup or restore say they have."""
    return int(summary.get("tables", {}).get(TRADE.table, {}).get("rows", -1))


def record_refusal(seen: HistoryWriter, stack: Stack, folder: Path) -> None:
    """Facts: a backup with a damaged file is refused, and nothing is there afterwards; the file is mended again."""
    victim = next(path for path in (folder / "files").rglob("*.parquet"))
    body = victim.read_bytes()
    victim.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    try:
        record_fact(seen, "exit code of a damaged backup", 78, lambda: k2(stack, "restore", str(folder)).exit_code)
        record_fact(seen, "what it left", [], lambda: k2(stack, "query", "snapshots", "--json").objects)
    finally:
        victim.write_bytes(body)


def observe(history: HistoryWriter, stack: Stack, fed: Fed, *, snapshots: bool = True) -> None:
    """Follow each record through log, table and answer."""
    history.observe("fed", fed.table(TRADE.data_type), TRADE.data_type)
    with LogTap(stack.settings.kafka.bootstrap_servers, [stack.topic("crypto", TRADE.data_type)]) as tap:
        observe_log(history, stack, tap.wait_for(len(fed.items), timeout_seconds=30))
    if snapshots:
        observe_tables(history, stack, [TRADE.data_type])
    else:
        rows = view_table(stack.settings.storage, TRADE.table).rows
        history.observe("stored", rows.drop_columns(["vendor_data"]), TRADE.data_type)
    observe_answers(history, stack.start_api(), TRADE.data_type, {"symbol": "DRILL"})


def write_report(
    path: Path,
    backup: dict[str, Any],
    restored: dict[str, Any],
    lost_rows: int,
    fault_ns: int,
    recovered_ns: int | None,
) -> None:
    """The drill's report in Markdown."""
    took = "never" if recovered_ns is None else f"{(recovered_ns - fault_ns) / 1e9:.1f} s"
    rows = [
        ("backup", f"{backup['files']} files, {backup['bytes'] / 1e6:.1f} MB, {backup['seconds']:.1f} s"),
        ("restore", f"{restored.get('seconds', 0):.1f} s, every file compared first"),
        ("recovery time (RTO)", f"{took}, objective {OBJECTIVE_SECONDS:g} s"),
        ("age of the backup at the loss", f"{(fault_ns - backup['taken_wall_ns']) / 1e9:.1f} s"),
        ("rows lost with the tables, taken from Kafka again", str(lost_rows)),
        ("records lost (RPO)", "0, see the verdict"),
        ("tables", ", ".join(record_type.table for record_type in RECORD_TYPES.values())),
    ]
    told = "\n".join(f"| {name} | {value} |" for name, value in rows)
    summary = json.dumps(backup["tables"], indent=1)
    path.write_text(f"# Restore drill\n\n| | |\n|---|---|\n{told}\n\n```json\n{summary}\n```\n")
