"""The API answers what its OpenAPI document says, in one shape of errors, and what its tables hold.

Every answer to requests made up from the document MUST match it and MUST NOT be a server error; whatever fails,
also below the routes, MUST be answered in the one envelope with the members of RFC 9457; the documentation page MUST
load nothing (API-1f). Reference data, snapshots and the bulk query MUST answer what an independent reader finds in the
tables (API-1d). The hybrid query is not offered yet, and MUST say so like any address there is not.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers import http
from conformance.drivers.contract import run_schemathesis
from conformance.drivers.error_shapes import FAILURES, failure
from conformance.drivers.exact_records import answered_rows, exact_records, stored_rows
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES, TRADE

EXAMPLES = by_profile(smoke=10, full=500)
MINIMUM_CASES = by_profile(smoke=300, full=1_000)
TIMEOUT_SECONDS = by_profile(smoke=120, full=900)
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
)
LISTED_FACTS = 11


@pytest.mark.timeout(1200)
@pytest.mark.clause(
    name="api_contract",
    claims=("API-1f",),
    checker="contract",
    title="Requests made up from the OpenAPI document: no server error, every answer as documented",
    minimum_samples=MINIMUM_CASES,
    remedy="k2/api/documentation.py makes the document, k2/api/parameters.py the rules; the finding has the request",
)
def test_every_answer_matches_the_document(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    for data_type in RECORD_TYPES:
        stack.start_consumer(data_type)
    fed = feed_records(stack, [exact.fed for exact in exact_records("contract")])
    api_url = stack.start_api()
    document = http.get(f"{api_url}/openapi.json").body
    operations = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    plan = {"operations": operations, "required_checks": CHECKS, "minimum_cases": MINIMUM_CASES}
    with clause.history(seed=16, **plan) as history:
        wait_until_drained(stack, history, fed.acknowledged_ends())
        cursor = http.get(f"{api_url}/v1/trades", {"limit": 1}).body["meta"]["next_cursor"]
        for outcome in run_schemathesis(
            api_url, cursor, tmp_path / "report.ndjson", examples=EXAMPLES, seed=16, timeout_seconds=TIMEOUT_SECONDS
        ):
            history.operation("api", "contract", "ok", attributes=outcome)
    clause.judge()
    judge_errors(clause, api_url)
    judge_page(clause, api_url, document)
    judge_endpoints(clause, stack, api_url)


def judge_errors(clause: ClauseRun, api_url: str) -> None:
    """Whatever fails is answered in the one envelope."""
    part = clause.part(
        "api_contract/errors",
        ("API-1f",),
        "facts",
        "Whatever fails, also below the routes, is answered in the one envelope of errors with its request id",
        minimum_samples=len(FAILURES),
    )
    with part.history(required_facts=list(FAILURES)) as history:
        for name in FAILURES:
            record_fact(history, name, [], failure, api_url, name)
    part.judge()


def judge_page(clause: ClauseRun, api_url: str, document: dict[str, Any]) -> None:
    """The documentation page shows every operation and loads nothing."""
    part = clause.part(
        "api_contract/page",
        ("API-1f",),
        "facts",
        "The documentation page shows every operation and needs nothing from outside",
        minimum_samples=5,
    )
    with part.history() as history:
        answer = http.get(f"{api_url}/docs")
        page = str(answer.body)
        record_fact(history, "status", 200, lambda: answer.status)
        record_fact(history, "scripts and other things to load", [], re.findall, r"<(?:script|link|img|iframe)", page)
        record_fact(history, "addresses elsewhere", [], re.findall, r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page)
        record_fact(
            history,
            "the browser is told to load nothing",
            "default-src 'none'",
            lambda: {name.lower(): value for name, value in answer.headers.items()}["content-security-policy"][:18],
        )
        record_fact(
            history,
            "operations that are not shown",
            [],
            lambda: [path for path in document["paths"] if f" {path}</code>" not in page],
            samples=len(document["paths"]),
        )
    part.judge()


def judge_endpoints(clause: ClauseRun, stack: Stack, api_url: str) -> None:
    """Reference data, snapshots and the bulk query answer what an independent reader finds."""
    part = clause.part(
        "api_contract/endpoints",
        ("API-1d",),
        "facts",
        "Reference data, snapshots and the bulk query answer what the tables hold; the hybrid query is not offered yet",
        minimum_samples=LISTED_FACTS,
    )
    with part.history() as history:
        reference = stored_rows(stack, "reference_data")
        record_fact(history, "there is reference data", True, lambda: len(reference) > 0)
        record_fact(
            history, "reference data", shown(reference), lambda: shown(answered_rows(api_url, "reference_data"))
        )
        compare_bulk(history, stack, api_url)
        for data_type, record_type in RECORD_TYPES.items():
            compare_snapshots(history, stack, api_url, data_type, record_type.table)
    part.judge()


def shown(rows: dict[int, dict[str, Any]]) -> list[list[Any]]:
    """What identifies a row and some of its values, in one order."""
    names = (
        "session_sequence",
        "symbol",
        "event_time_ns",
        "tick_size",
        "listing_status",
        "kafka_offset",
        "vendor_data",
    )
    return [[row[name] for name in names] for _, row in sorted(rows.items())]


def compare_bulk(history: HistoryWriter, stack: Stack, api_url: str) -> None:
    """Three questions in one request, each answered as the stored rows say."""
    rows = list(stored_rows(stack, TRADE.data_type).values())
    rows.sort(key=lambda row: (row["event_time_ns"], row["kafka_partition"], row["kafka_offset"]))
    symbol, start = rows[0]["symbol"], rows[len(rows) // 2]["event_time_ns"]
    queries: list[dict[str, Any]] = [{"symbol": symbol}, {"start_time": start}, {"exchange": "NO-SUCH", "limit": 5}]
    expected = [
        [row["session_sequence"] for row in rows if row["symbol"] == symbol],
        [row["session_sequence"] for row in rows if row["event_time_ns"] >= start],
        [],
    ]
    answer = http.post(f"{api_url}/v1/trades/query", {"queries": queries})
    record_fact(history, "status of the bulk query", 200, lambda: answer.status)
    for number, due in enumerate(expected):
        record_fact(
            history,
            f"rows of {json.dumps(queries[number])}",
            due,
            lambda number=number: [row["session_sequence"] for row in answer.body["data"][number]["rows"]],
        )


def compare_snapshots(history: HistoryWriter, stack: Stack, api_url: str, data_type: str, table: str) -> None:
    """The list of a table's snapshots, and the rows of the first and the last of them."""
    view = view_table(stack.settings.storage, table)
    known = view.snapshots.to_pylist()
    newest_first = [[one["snapshot_id"], one["committed_wall_ns"] // 1_000_000] for one in reversed(known)]
    listed = http.get(f"{api_url}/v1/snapshots", {"data_type": data_type}).body["data"]
    record_fact(
        history,
        f"snapshots of {data_type}",
        newest_first,
        lambda: [[one["snapshot_id"], one["committed_time_ms"]] for one in listed],
    )
    endpoint = {"reference_data": "reference"}.get(data_type, data_type)
    first = known[0]["snapshot_id"]
    held = view.rows.column("snapshot_id").to_pylist().count(first)
    record_fact(
        history,
        f"rows of the first snapshot of {data_type}",
        held,
        lambda: len(http.get(f"{api_url}/v1/{endpoint}", {"snapshot_id": first}).body["data"]),
    )
