"""Hostile values return nothing and harm nothing.

A value in any filter of the API is a bound parameter: whatever it holds, the answer MUST have no rows that do not
match and MUST not be a server error, and the tables MUST hold what they held (QRY-1). Names of tables and columns come
from lists: any other MUST be refused before a connection is lent for it.
"""

import functools
import re
import urllib.parse
from collections.abc import Callable

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.dlq_command import Answer, k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.assembly.serving import query_engine
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.query.result import QueryResult, RowQuery
from k2.records.definition import TRADE

RECORDS = 500
QUOTES = "['\"]"
NO_NAMES = (
    "trades_v2",
    "market_data.trades_v2",
    "prices",
    "price, session",
    "*",
    "(SELECT 1)",
    "price FROM read_text('/etc/passwd') --",
    "'; DROP TABLE trades; --",
    "",
)
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
def test_hostile_values_return_nothing_and_harm_nothing(stack: Stack, clause: ClauseRun) -> None:
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


@pytest.mark.clause(
    name="whitelists",
    claims=("QRY-1b",),
    checker="facts",
    title="A table or a column that is not on the list is refused before the engine sees it",
    minimum_samples=3 * len(NO_NAMES) + 2,
    remedy="see RowQuery.check in k2/query/result.py and k2/commands/context.py",
)
def test_names_outside_the_lists_are_refused(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=13) as history, query_engine(stack.settings, Metrics()) as engine:
        stack.start_consumer("trades")
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=13, records=RECORDS, trade_share=1.0)))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        asked = engine.get_stats()["pool"]["total_acquisitions"]
        for name in NO_NAMES:
            table = refusal(functools.partial(engine.get_symbols, name))
            record_fact(history, f"{name!r} as a table", "UsageError: no table holds", lambda said=table: said)
            for columns in ((name,), ("price", name)):
                said = refusal(functools.partial(one, engine, RowQuery(columns=columns)))
                record_fact(history, f"columns {columns}", "UsageError: there is no column", lambda said=said: said)
        # Asking for the statistics lends one, too.
        lent = engine.get_stats()["pool"]["total_acquisitions"] - asked - 1
        record_fact(history, "connections lent for what was refused", 0, lambda: lent)
        chosen = RowQuery(columns=("price", "symbol"), limit=1)
        record_fact(history, "columns on the list", ["price", "symbol"], lambda: one(engine, chosen).rows.column_names)
        command = ["query", "trades", "--columns", "price,1 AS stolen"]
        record_fact(history, "a column by the command", [64, 1], lambda: status_and_lines(k2(stack, *command)))
        command = ["query", "symbols", "--data-type", "trades; DROP TABLE trades"]
        record_fact(history, "a table by the command", [64, 1], lambda: status_and_lines(k2(stack, *command)))
    clause.judge()


def one(engine: QueryEngine, query: RowQuery) -> QueryResult:
    """The answer to one query for trades."""
    (result,) = engine.query_rows("trades", [query])
    return result


def refusal(ask: Callable[[], object]) -> str | None:
    """The error that refuses a question, and how its message begins."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - where a name that got through leads is not known beforehand
        return f"{type(error).__name__}: {re.split(QUOTES, str(error))[0].rstrip()}"
    return None


def status_and_lines(answer: Answer) -> list[int]:
    """Exit code, and lines of the error."""
    return [answer.exit_code, len(answer.stderr.splitlines())]


def ask(api_url: str, parameter: str, value: str) -> dict[str, object]:
    """Rows answered, and whether the server broke."""
    answer = http.get(f"{api_url}/v1/trades?{parameter}={urllib.parse.quote(value)}")
    rows = len(answer.body["data"]) if answer.status == 200 else 0
    return {"server_error": answer.status >= 500, "rows": rows}


def count_rows(stack: Stack) -> int:
    """Rows the table holds, read without K2."""
    storage = stack.settings.storage
    return int(view_table(storage, TRADE.table).rows.num_rows)
