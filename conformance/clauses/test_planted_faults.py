"""Planted faults: what the synthetic exchanges planted, by the file they wrote, is what the platform reports.

The planted gaps, duplicates, reorderings, resets, skewed clocks and bad records MUST be those of the truth file, and
the platform MUST report them as what they are (REC-5b). ASX equities and Binance crypto MUST travel through topics of
their own and be told apart in the table (REC-4b).
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feed_command import dead_letters, feed
from conformance.drivers.sequences import reported_gaps
from conformance.drivers.silence import METRICS, metrics_url
from conformance.drivers.table_view import view_table
from conformance.drivers.truth_file import Truth, read_truth_file
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES

RECORDS = 16_000
SEED = 11
DATA_TYPES = ("trades", "quotes", "reference_data")
ASSET_CLASSES = {"BINANCE": "crypto", "ASX": "equities"}
LARGEST_SKEW_MS = 2_000
CROSSED_QUOTE_BIT = 2
REJECT_CLASSES = {
    "negative_price/trades": "price_not_positive",
    "negative_price/quotes": "bid_price_negative",
    "negative_quantity/trades": "quantity_not_positive",
    "negative_quantity/quotes": "ask_quantity_negative",
    "zero_quantity/trades": "quantity_not_positive",
    **{f"future_time/{data_type}": "event_time_in_future" for data_type in DATA_TYPES},
    **{f"past_time/{data_type}": "event_time_out_of_range" for data_type in DATA_TYPES},
    **{f"unknown_exchange/{data_type}": "unknown_exchange" for data_type in DATA_TYPES},
    **{f"empty_symbol/{data_type}": "empty_symbol" for data_type in DATA_TYPES},
}
REQUIRED_KINDS = sorted(
    {"gap", "duplicate", "reordering", "reset", "crossed_quote", *(name.split("/")[0] for name in REJECT_CLASSES)}
)
FAULTS = (
    *("--gap-rate", "0.01", "--duplicate-rate", "0.01", "--reorder-rate", "0.01", "--reset-every", "1001"),
    *("--bad-rate", "0.01", "--clock-skew-ms", str(LARGEST_SKEW_MS), "--reference-data"),
)


@pytest.mark.clause(
    name="planted_faults",
    claims=("REC-5b", "SEQ-1b"),
    checker="planted_faults",
    title="Gaps, duplicates, reorderings, resets and bad records of two exchanges are reported as the truth file says",
    minimum_samples=400,
    remedy="see k2/feeds/truth_file.py for what was planted, k2/ingestion/judging.py for what became of it",
)
def test_what_two_exchanges_planted_is_what_is_reported(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    truth_path = tmp_path / "truth.jsonl"
    plan = {"reject_classes": REJECT_CLASSES, "flags": {"crossed_quote": CROSSED_QUOTE_BIT}}
    with clause.history(seed=SEED, required_kinds=REQUIRED_KINDS, **plan) as history:
        urls = {name: metrics_url(stack.start_consumer(name, environment=METRICS)) for name in DATA_TYPES}
        source = ("--synthetic", "--market", "binance", "--market", "asx", "--seed", str(SEED))
        feed(stack, history, *source, "--records", str(RECORDS), *FAULTS, "--truth", str(truth_path))
        truth = observe_truth(history, truth_path)
        rows = {name: stored(stack, name) for name in DATA_TYPES}
        for name, table in rows.items():
            columns = ["exchange", "symbol", "session", "session_sequence", "sequence_event", "quality_flags"]
            history.observe("stored", table.select(columns), name)
        api_url = stack.start_api()
        history.observe("gaps", open_gaps(api_url))
        history.observe("dead_letters", dead_letters(stack))
        history.observe("counters", counters(urls))
    clause.judge()
    judge_markets(clause, truth, rows, api_url, stack.settings.kafka.topic_prefix)


def observe_truth(history: HistoryWriter, path: Path) -> Truth:
    """Stages `keys` and `planted`, and the operation `truth_read`."""
    with history.invoke("harness", "truth_read") as invocation:
        truth = read_truth_file(path)
        invocation.attributes["complete"] = truth.is_complete
    history.observe("keys", truth.keys)
    history.observe("planted", truth.planted)
    return truth


def stored(stack: Stack, data_type: str) -> pa.Table:
    """Every row of a table."""
    storage = stack.settings.storage
    return view_table(storage, RECORD_TYPES[data_type].table).rows


def open_gaps(api_url: str) -> pa.Table:
    """Stage `gaps`: what the API answers of the exchanges' numbers."""
    names = ("exchange", "symbol", "first_missing", "last_missing")
    rows = [
        {"data_type": data_type, **{name: gap[name] for name in names}}
        for data_type in ("trades", "quotes")
        for gap in reported_gaps(api_url, data_type)
        if gap["tracker"] == "source"
    ]
    return pa.Table.from_pylist(rows)


def counters(urls: Mapping[str, str]) -> pa.Table:
    """Stage `counters`: what the consumers export."""
    rows = []
    for data_type, url in urls.items():
        exposition = http.get(url).body
        counted = {
            name: sum(http.samples(exposition, metric, {"data_type": data_type}))
            for name, metric in (
                ("duplicates", "k2_duplicates_detected_total"),
                ("gaps", "k2_sequence_gaps_total"),
            )
        }
        rows.append({"data_type": data_type, **counted})
    return pa.Table.from_pylist(rows)


def judge_markets(clause: ClauseRun, truth: Truth, rows: Mapping[str, pa.Table], api_url: str, prefix: str) -> None:
    """The exchanges have topics of their own, table and API tell them apart, and their clocks are as skewed as said."""
    part = clause.part(
        "planted_faults/two_markets",
        ("REC-4b",),
        "facts",
        "ASX equities and Binance crypto travel through topics of their own and are told apart in table and API",
        minimum_samples=12,
    )
    with part.history(seed=SEED) as history:
        for data_type, table in rows.items():
            topics = {code: [f"{prefix}market.{asset}.{data_type}"] for code, asset in ASSET_CLASSES.items()}
            record_fact(history, f"{data_type}: topics by exchange", topics, by_exchange, table, "topic")
            classes = {code: [asset] for code, asset in ASSET_CLASSES.items()}
            record_fact(history, f"{data_type}: asset class by exchange", classes, by_exchange, table, "asset_class")
            for code in ASSET_CLASSES:
                wanted = sorted(set(table.filter(pc.equal(table["exchange"], code))["symbol"].to_pylist()))
                record_fact(history, f"{data_type}: symbols of {code}", wanted, symbols, api_url, data_type, code)
        record_fact(history, "symbols both have", [], shared_symbols, rows["trades"])
        record_fact(history, "clocks whose skew is not that of the truth", [], wrong_skews, truth, rows["trades"])
    part.judge()


def by_exchange(rows: pa.Table, column: str) -> dict[str, list[str]]:
    """The distinct values of a column for each exchange."""
    pairs = sorted(set(zip(rows["exchange"].to_pylist(), rows[column].to_pylist(), strict=True)))
    return {code: [value for exchange, value in pairs if exchange == code] for code, _ in pairs}


def symbols(api_url: str, data_type: str, exchange: str) -> list[str]:
    """What /v1/symbols answers for an exchange."""
    body = http.get(f"{api_url}/v1/symbols", {"data_type": data_type, "exchange": exchange}).body
    return sorted(entry["symbol"] for entry in body["data"])


def shared_symbols(rows: pa.Table) -> list[str]:
    """Symbols with rows of more than one exchange."""
    found = by_exchange(rows, "symbol")
    return sorted(set(found["ASX"]) & set(found["BINANCE"]))


def wrong_skews(truth: Truth, rows: pa.Table) -> list[str]:
    """Symbols whose event times do not lie behind the receive times by transit alone, once the skew is taken away.

    Transit takes 0.2 to 3 ms, event times are in whole ms, and a duplicate or late record is received later.
    """
    wrong = []
    for (exchange, symbol), skew_ns in truth.clock_skews_ns.items():
        own = rows.filter(pc.and_(pc.equal(rows["exchange"], exchange), pc.equal(rows["symbol"], symbol)))
        on_time = own.filter(pc.not_equal(own["sequence_event"], "OUT_OF_ORDER"))
        behind = pc.subtract(on_time["receive_time_ns"], on_time["event_time_ns"])
        transit_ns = [value + skew_ns for value in pc.min_max(behind).as_py().values()]
        if not 0 <= transit_ns[0] <= transit_ns[1] <= 5_000_000:
            wrong.append(f"{exchange}:{symbol}: {transit_ns}")
    return wrong
