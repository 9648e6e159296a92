"""Hostile values return nothing and harm nothing.

A value in any filter of the API is a bound parameter: whatever it holds, the answer MUST have no rows that do not
match and MUST not be a server error, and the tables MUST hold what they held (QRY-1).
"""

import urllib.parse

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import view_table
from conformance.stacks.embedded import EmbeddedStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

RECORDS = 500
HOSTILE = (
    "' OR '1'='1",
    "BINANCE' --",
    "'; DROP TABLE trades; --",
    '" OR ""="',
    "BINANCE' UNION SELECT * FROM read_csv('/etc/passwd') --",
    "%' OR exchange LIKE '%",
    "$1",
    "?",
    "{symbol}",
    "\\' OR 1=1 --",
    "/* */",
    "BINANCE\n; SELECT 1",
    "\u2019 OR 1=1",
    "\u0000",
    "../../etc/passwd",
    "x" * 10_000,
)


@pytest.mark.clause(
    name="hostile_values",
    claims=("QRY-1a",),
    checker="facts",
    title="Hostile filter values return no rows, cause no server error, and leave the tables as they were",
    minimum_samples=2 * len(HOSTILE) + 1,
    remedy="see k2/query/statements.py: every value must be a bound parameter",
)
def test_hostile_values_return_nothing_and_harm_nothing(stack: EmbeddedStack, clause: ClauseRun) -> None:
    with clause.history(seed=11) as history:
        stack.start_consumer("trades")
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=11, records=RECORDS, trade_share=1.0)))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        api_url = stack.start_api()
        rows = count_rows(stack)
        for number, value in enumerate(HOSTILE):
            for parameter in ("exchange", "symbol"):
                record_fact(
                    history,
                    f"value {number} as {parameter}",
                    {"server_error": False, "rows": 0},
                    ask,
                    api_url,
                    parameter,
                    value,
                )
        record_fact(history, "rows in the table afterwards", rows, lambda: count_rows(stack))
        record_fact(
            history,
            "an honest question is still answered",
            min(rows, 1_000),
            lambda: len(http.get(f"{api_url}/v1/trades", {"exchange": "BINANCE"}).body["data"]),
        )
    clause.judge()


def ask(api_url: str, parameter: str, value: str) -> dict[str, object]:
    """Rows answered, and whether the server broke."""
    answer = http.get(f"{api_url}/v1/trades?{parameter}={urllib.parse.quote(value)}")
    rows = len(answer.body["data"]) if answer.status == 200 else 0
    return {"server_error": answer.status >= 500, "rows": rows}


def count_rows(stack: EmbeddedStack) -> int:
    """Rows the table holds, read without K2."""
    storage = stack.settings.storage
    return int(view_table(storage.catalog_uri, storage.warehouse, TRADE.table).rows.num_rows)
