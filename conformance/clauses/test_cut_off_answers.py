"""A commit whose answer never came is settled by the table.

Where the catalog's answer to a commit is cut off, the consumer cannot know whether it holds. It MUST ask the table,
write nothing twice and lose nothing, and MUST delete no file that the table names (CON-6f).
"""

import json
from pathlib import Path

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.live_files import missing_files, shrunken_snapshots
from conformance.drivers.observing import observe_tables
from conformance.stacks.base import CutPlan, NewStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

CUTS = by_profile(smoke=10, full=50)
BATCH_ROWS = 50
RECORDS = 120 * CUTS
AT_ONCE = {"K2_RETRY__FIRST_WAIT_SECONDS": "0.01", "K2_RETRY__LONGEST_WAIT_SECONDS": "0.02"}


@pytest.mark.clause(
    name="cut_off_answers",
    claims=("CON-6f",),
    checker="facts",
    title="Of commits whose answers were cut off, half of which hold, no live file is deleted",
    minimum_samples=CUTS,
    remedy="see TableWriter._commit_once and _forget: what was not answered must stay, and progress be read again",
)
def test_commits_whose_answers_were_cut_off_are_settled_by_the_table(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    delivery = clause.part(
        "cut_off_answers/rows", ("CON-6f",), "delivery", "Nothing is lost or twice after cut-off answers", RECORDS
    )
    evidence = tmp_path / "cuts.jsonl"
    with new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack:
        storage = stack.settings.storage
        table = (storage, TRADE.table)
        with delivery.history(seed=21) as history:
            fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=21, records=RECORDS, trade_share=1.0)))
            consumer = stack.start_consumer("trades", CutPlan(CUTS, evidence), AT_ONCE)
            wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
            status = consumer.stop()
            with clause.history(seed=21) as facts:
                cuts = [json.loads(line) for line in evidence.read_text().splitlines()]
                record_fact(facts, "answers cut off", CUTS, lambda: len(cuts), samples=CUTS)
                record_fact(
                    facts, "commits that held all the same", CUTS // 2, lambda: sum(cut["held"] for cut in cuts)
                )
                record_fact(facts, "live files missing", [], missing_files, *table)
                record_fact(facts, "snapshots that set progress back", [], shrunken_snapshots, *table)
                record_fact(facts, "exit status", 0, lambda: status)
            history.observe("fed", fed.table("trades"), "trades")
            observe_tables(history, stack, ["trades"])
    clause.judge()
    delivery.judge()
