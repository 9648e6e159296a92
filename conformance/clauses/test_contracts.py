"""What is in the tables keeps its contract, as a second statement of it in another library sees it.

No row that breaks a rejecting rule MUST be in a table, and exactly the rows that break a flagging rule MUST carry its
flag (REC-3). The contracts are pandera's, written apart from the rules the consumer applies.
"""

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.record_fates import KindSender
from conformance.drivers.record_kinds import kinds
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES

contracts = pytest.importorskip("conformance.contracts", reason="pandera is not installed")

FLAG_BITS = {
    "trades": {"event_after_receipt": 8},
    "quotes": {"crossed_quote": 2, "zero_price": 16, "half_a_side": 32},
    "reference_data": {},
}


@pytest.mark.clause(
    name="records/contracts",
    claims=("REC-3a",),
    checker="facts",
    title="No row of a table breaks its contract but those flagged for it, and all that break a flagging rule are",
    minimum_samples=72,
    remedy="see k2/records/validation.py; conformance/contracts.py says the same with pandera",
)
def test_the_tables_keep_their_contracts(stack: Stack, clause: ClauseRun) -> None:
    with clause.history() as history:
        sender = KindSender(stack)
        sender.send(list(kinds()))
        for data_type in RECORD_TYPES:
            stack.start_consumer(data_type)
        wait_until_drained(stack, history, sender.ends())
        storage = stack.settings.storage
        for data_type, record_type in RECORD_TYPES.items():
            rows = view_table(storage, record_type.table).rows
            flags = rows["quality_flags"].to_pylist()
            flagged = {
                name: [row for row, value in enumerate(flags) if value & bit]
                for name, bit in FLAG_BITS[data_type].items()
            }
            broken = {name: sorted(numbers) for name, numbers in contracts.broken_rules(data_type, rows).items()}
            record_fact(
                history, f"{data_type}: rows that break a rule", flagged, lambda seen=broken: seen, samples=len(flags)
            )
            record_fact(history, f"{data_type}: has rows", True, lambda seen=flags: len(seen) > 0)
    clause.judge()
