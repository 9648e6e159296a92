"""The stack on somebody else's servers serves, sees nothing of others, and takes away all that it made.

Topics, tables and files of a run MUST bear its name, so that nothing of the deployment's own is read or written, and
none of them may be left after the stop (HAR-1).
"""

from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.stacks.base import NewStack, PowerMissingError
from conformance.stacks.external import ExternalStack, left_of
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

RECORDS = 1_000


@pytest.mark.clause(
    name="external_stack",
    claims=("HAR-1c",),
    checker="facts",
    title="A platform on somebody else's servers has its own topics and tables, and leaves none of them behind",
    minimum_samples=3,
    remedy="see conformance/stacks/external.py",
)
def test_a_platform_on_servers_of_others_cleans_up_after_itself(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    stack = new_stack(tmp_path)
    if not isinstance(stack, ExternalStack):
        raise PowerMissingError("this stack's servers are its own")
    with clause.history(seed=22) as history:
        with stack:
            stack.start_consumer("trades")
            settings = SyntheticSettings(seed=22, records=RECORDS, trade_share=1.0, duplicate_rate=0.0)
            wait_until_drained(stack, history, feed_records(stack, SyntheticExchange(settings)).acknowledged_ends())
            trades = f"{stack.start_api()}/v1/trades"
            record_fact(history, "trades the API answers", RECORDS, http.count_rows, trades, samples=RECORDS)
            record_fact(history, "something is there", True, lambda: bool(left_of(stack.settings)))
        record_fact(history, "left after the stop", [], left_of, stack.settings)
    clause.judge()
