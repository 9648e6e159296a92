"""A query reads the files and columns it needs, and no others.

A query for one day and exchange MUST open files of that partition only, and read only the columns asked for, and those
it filters and sorts by (QRY-3). What it does not need is taken away or made unreadable: it MUST answer in full all the
same, and a query that does need it MUST fail, which shows that the damage is real. The plan it shows MUST say the same.
"""

import re
from decimal import Decimal
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.crafted_trades import CraftedTrades
from conformance.drivers.damaged_files import data_files, garble_columns, take_away
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import warehouse_folder
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.records.definition import TRADE

DAY_NS = 86_400 * 10**9
EXCHANGES, DAYS, SYMBOL, TRADES = ("ASX", "BINANCE"), 2, "BTCUSDT", 60
ASKED = ("trade_id", "price")
SORTED_AND_FILTERED_BY = ("event_time_ns", "kafka_partition", "kafka_offset", "topic", "session", "exchange")


@pytest.mark.clause(
    name="query_plans",
    claims=("QRY-3b",),
    checker="facts",
    title="A query for one day and exchange answers in full with every other file gone and every other column garbled",
    minimum_samples=8,
    remedy="see may_hold in k2/storage/reader.py and select_rows in k2/query/statements.py",
)
def test_a_query_reads_what_it_needs_alone(stack: Stack, clause: ClauseRun) -> None:
    records = crafted()
    first_day = records[0].record["event_time_ns"] // DAY_NS
    storage = stack.settings.storage
    warehouse_folder(storage)
    with clause.history() as history:
        stack.start_consumer("trades")
        wait_until_drained(stack, history, feed_records(stack, records).acknowledged_ends())
        stack.process("consumer-trades").stop()
        url = stack.start_api()
        window = {"start_time": first_day * DAY_NS, "end_time": (first_day + 1) * DAY_NS, "exchange": "BINANCE"}
        needed = data_files(storage, TRADE.table, lambda day, exchange: (day, exchange) == (first_day, "BINANCE"))
        others = data_files(storage, TRADE.table, lambda day, exchange: (day, exchange) != (first_day, "BINANCE"))
        record_fact(history, "partitions", [True, True], lambda: [bool(needed), len(others) >= 3])
        record_fact(history, "files planned", [len(needed), len(needed) + len(others)], planned_files, stack, window)
        record_fact(history, "columns planned", [[], []], missing_and_surplus_columns, stack, window)
        take_away(others)
        record_fact(history, "the API, other files gone", TRADES, lambda: len(api_rows(url, window)))
        record_fact(history, "the API, for another exchange", 503, lambda: status(url, {**window, "exchange": "ASX"}))
        gone = {name for path in needed for name in garble_columns(path, {*ASKED, *SORTED_AND_FILTERED_BY})}
        record_fact(history, "columns garbled", True, lambda: {"symbol", "quantity", "vendor_data"} <= gone)
        truth = sorted(
            [str(record.record["trade_id"]), f"{Decimal(record.record['price']):.10f}"] for record in records[:TRADES]
        )
        record_fact(history, "rows, other columns garbled", truth, asked_rows, stack, window, samples=TRADES)
        record_fact(history, "a garbled column", True, lambda: asked(stack, window, ("quantity",)).exit_code != 0)
    clause.judge()


def crafted() -> list[FeedRecord]:
    """As many trades of each day and exchange; those of the first day at BINANCE come first."""
    craft = CraftedTrades()
    first = craft.one(SYMBOL, 1).record["event_time_ns"]
    noon = (first // DAY_NS) * DAY_NS + DAY_NS // 2
    places = [(day, exchange) for day in range(DAYS) for exchange in reversed(EXCHANGES)]
    return [
        craft.one(
            SYMBOL,
            None,
            exchange=exchange,
            trade_id=f"{exchange}-{day}-{number}",
            event_time_ns=noon + day * DAY_NS + number,
            receive_time_ns=noon + day * DAY_NS + number,
        )
        for day, exchange in places
        for number in range(TRADES)
    ]


def asked(stack: Stack, window: dict[str, Any], columns: tuple[str, ...], *options: str) -> Any:
    """`k2 query trades` for the window and these columns."""
    place = ["--start", str(window["start_time"]), "--end", str(window["end_time"]), "--exchange", window["exchange"]]
    return k2(stack, "query", "trades", "--all", *place, "--columns", ",".join(columns), *options)


def asked_rows(stack: Stack, window: dict[str, Any]) -> list[list[str]]:
    """Its rows, sorted."""
    return sorted(
        [row["trade_id"], f"{Decimal(row['price']):.10f}"] for row in asked(stack, window, ASKED, "--json").objects
    )


def planned_files(stack: Stack, window: dict[str, Any]) -> list[int]:
    """How many of how many files the shown plan says."""
    text = asked(stack, window, ASKED, "--explain").stdout
    match = re.search(r"(\d+) of (\d+) data files", text)
    return [] if match is None else [int(match[1]), int(match[2])]


def missing_and_surplus_columns(stack: Stack, window: dict[str, Any]) -> list[list[str]]:
    """Columns asked for that the shown plan does not read, and those it reads for no reason."""
    text = asked(stack, window, ASKED, "--explain").stdout.partition("Table Scan")[2]
    match = re.search(r"Projections:(.*?)(Filters|Total Files)", text, re.DOTALL)
    planned = set() if match is None else set(re.findall(r"[a-z_]+", match[1]))
    return [sorted({*ASKED} - planned), sorted(planned - {*ASKED, *SORTED_AND_FILTERED_BY})]


def api_rows(url: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows the API answers."""
    rows: list[dict[str, Any]] = http.get(f"{url}/v1/trades", {**parameters, "limit": 1_000}).body.get("data", [])
    return rows


def status(url: str, parameters: dict[str, Any]) -> int:
    """The status the API answers."""
    return http.get(f"{url}/v1/trades", parameters).status
