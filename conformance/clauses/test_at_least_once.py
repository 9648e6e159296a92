"""At least once, and in the table exactly once, whatever step a consumer dies after.

A consumer that is killed with SIGKILL after any numbered step of the commit protocol (k2/ingestion/consumer.py) and
then started again MUST lose no acknowledged record (CON-3) and write nothing twice (CON-6). Kafka MUST never have been
told an offset that the table did not hold, and the rows of each key MUST stand in the order of the log (CON-1).
"""

import json
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.bulk import bulk_view
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.group_offsets import reported_offsets
from conformance.drivers.observing import observe_reported_offsets, observe_tables
from conformance.drivers.row_comparison import rows_out_of_order
from conformance.history import HistoryWriter
from conformance.stacks.base import NewStack, SignalPlan, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.consumer import consumer_group

RECORDS = 3_000
BATCH_ROWS = 500
KILLED_AT_BATCH = 3
DEATH_TIMEOUT_SECONDS = 60
# After REPORT the next step is POLL again, so the last gap between two steps is the one after COMMIT.
STEPS = ("ASSIGN", "POLL", "DECODE", "JUDGE", "WRITE", "REJECT", "COMMIT")


@pytest.fixture
def stack(tmp_path: Path, new_stack: NewStack) -> Stack:
    """A stack whose consumer takes several small batches, started by the test."""
    return new_stack(tmp_path, batch_rows=BATCH_ROWS)


@pytest.mark.clause(
    name="at_least_once",
    claims=("CON-1a", "CON-3b", "CON-6a", "CON-6b", "CON-5c", "HAR-3c"),
    checker="delivery",
    title="A consumer killed between two steps loses nothing and writes nothing twice",
    minimum_samples=RECORDS,
    remedy="the case names the step; follow what k2/ingestion/consumer.py has done and not done by then",
)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"kill_after_{step.lower()}")
def test_a_consumer_killed_between_two_steps_loses_and_repeats_nothing(
    stack: Stack, clause: ClauseRun, step: str, tmp_path: Path
) -> None:
    seed = 100 + STEPS.index(step)
    with stack, clause.history(seed=seed, expected_kills=[step]) as history:
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=seed, records=RECORDS, trade_share=1.0)))
        kill_consumer(stack, history, SignalPlan(step, KILLED_AT_BATCH, tmp_path / "kills.jsonl"))
        observe_offsets(stack, history, fed)
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        observe_offsets(stack, history, fed)
        consumer.stop()
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
        rows, snapshots = bulk_view(stack)
    clause.judge()
    order = clause.part(
        "order_per_key",
        ("CON-1d",),
        "facts",
        "After a kill the rows of each key stand in the order of the log",
        minimum_samples=RECORDS // 2,
    )
    with order.history(seed=seed) as history:
        record_fact(history, "rows out of order", 0, rows_out_of_order, rows, snapshots, samples=rows.num_rows)
    order.judge()


def kill_consumer(stack: Stack, history: HistoryWriter, plan: SignalPlan) -> None:
    """Run a consumer to its planned death and record how it died."""
    with history.invoke("harness", "kill") as invocation:
        status = stack.start_consumer("trades", plan).wait(DEATH_TIMEOUT_SECONDS)
        evidence = [json.loads(line) for line in plan.evidence.read_text().splitlines()]
        invocation.attributes |= {"step": evidence[0]["step"], "batch": evidence[0]["batch"], "exit_signal": -status}


def observe_offsets(stack: Stack, history: HistoryWriter, fed: Fed) -> None:
    """Record what Kafka was told so far."""
    servers, group = stack.settings.kafka.bootstrap_servers, consumer_group(stack.settings)
    reported = reported_offsets(servers, group, fed.acknowledged_ends())
    observe_reported_offsets(history, stack, reported)
