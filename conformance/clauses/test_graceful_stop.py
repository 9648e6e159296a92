"""SIGTERM and SIGINT finish the batch in hand.

A consumer that is asked to stop while it works on a batch MUST take that batch through every step, commit it and exit
0 (CON-3); the next consumer MUST go on right there, losing and repeating nothing.
"""

import json
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, table_offsets
from conformance.drivers.table_view import view_table
from conformance.stacks.base import NewStack, SignalPlan
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

RECORDS = 2_000
BATCH_ROWS = 500
STOP_TIMEOUT_SECONDS = 60
# A batch ends when it is full and not because a broker was slow, so that it is known what two of them hold.
FULL_BATCHES = {"K2_CONSUMER__BATCH_SECONDS": "30"}


def graceful_stop(number: str, claim: str) -> pytest.MarkDecorator:
    """The clause for one of the two signals."""
    return pytest.mark.clause(
        name="graceful_stop",
        claims=(claim, "CON-5c"),
        checker="facts",
        title=f"A consumer that gets {number} right after polling takes that batch through every step and exits 0",
        minimum_samples=4,
        remedy="see MarketDataConsumer.run and LogReader.poll",
    )


@pytest.mark.parametrize(
    "number",
    [
        pytest.param("SIGTERM", id="sigterm", marks=graceful_stop("SIGTERM", "CON-3a")),
        pytest.param("SIGINT", id="sigint", marks=graceful_stop("SIGINT", "CON-3c")),
    ],
)
def test_a_consumer_asked_to_stop_finishes_the_batch_in_hand(
    clause: ClauseRun, tmp_path: Path, number: str, new_stack: NewStack
) -> None:
    evidence = tmp_path / "steps.jsonl"
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack, clause.history(seed=3) as history:
        feed_records(stack, SyntheticExchange(SyntheticSettings(seed=3, records=RECORDS, trade_share=1.0)))
        consumer = stack.start_consumer("trades", SignalPlan("POLL", 2, evidence, number), FULL_BATCHES)
        record_fact(history, "exit status", 0, lambda: consumer.wait(STOP_TIMEOUT_SECONDS))
        steps = [json.loads(line) for line in evidence.read_text().splitlines()]
        after = ["POLL", "DECODE", "JUDGE", "WRITE", "REJECT", "COMMIT", "REPORT"]
        record_fact(history, "steps from the signal on", after, lambda: [step["step"] for step in steps])
        record_fact(history, "batches of these steps", [2], lambda: sorted({step["batch"] for step in steps}))
        storage = stack.settings.storage
        rows = view_table(storage, TRADE.table).rows
        record_fact(history, "messages taken in", 2 * BATCH_ROWS, lambda: sum(table_offsets(stack).values()))
        # Duplicates are planted, so there are fewer rows than messages; each row there is lies before the progress.
        record_fact(history, "rows beyond progress", 0, lambda: _beyond(rows.to_pylist(), table_offsets(stack)))
    clause.judge()


def _beyond(rows: list[dict[str, object]], offsets: dict[tuple[str, int], int]) -> int:
    return sum(row["kafka_offset"] >= offsets[str(row["topic"]), int(str(row["kafka_partition"]))] for row in rows)  # type: ignore[operator]
