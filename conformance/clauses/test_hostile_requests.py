"""Hostile text in any place of a request breaks nothing, finds nothing and changes nothing.

Whatever stands in a parameter, a field, a header or a path (quotes, comments, control characters, any unicode, ten
thousand characters) the API MUST answer below 500 and in its envelope, MUST give away no row that was not asked for,
and MUST leave the tables as they are (QRY-1). The places are those of the OpenAPI document of the running API.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers import http
from conformance.drivers.exact_records import exact_records
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.hostile_requests import HIGHEST_SYMBOL, LOWEST_SYMBOL, attack, places
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES

EXAMPLES = by_profile(smoke=20, full=300)
CLIENTS = 3
RECORDS = 400
# Hypothesis stops early where it finds nothing new.
MINIMUM_REQUESTS = EXAMPLES // 2
PLACES_AT_LEAST = 40


@pytest.mark.clause(
    name="hostile_requests",
    claims=("QRY-1a",),
    checker="hostile_requests",
    title="Hostile text in every parameter, field, header and path: no server error, no extra row, tables untouched",
    minimum_samples=PLACES_AT_LEAST * MINIMUM_REQUESTS,
    remedy="values reach SQL as bound parameters only, see k2/query/statements.py; k2/api/parameters.py bounds them",
)
def test_hostile_text_breaks_nothing_finds_nothing_and_changes_nothing(stack: Stack, clause: ClauseRun) -> None:
    for data_type in RECORD_TYPES:
        stack.start_consumer(data_type)
    settings = SyntheticSettings(seed=11, records=RECORDS, symbols=(LOWEST_SYMBOL, HIGHEST_SYMBOL))
    reference = (exact.fed for exact in exact_records("hostile") if exact.fed.data_type == "reference_data")
    fed = feed_records(stack, chain(SyntheticExchange(settings), reference))
    api_url = stack.start_api()
    planned = list(places(http.get(f"{api_url}/openapi.json").body))
    names = [place.name for place in planned]
    with clause.history(seed=11, places=names, minimum_requests=MINIMUM_REQUESTS, minimum_queries=EXAMPLES) as history:
        wait_until_drained(stack, history, fed.acknowledged_ends())
        observe_tables(history, stack, "before")
        queries = engine_queries(api_url)
        with ThreadPoolExecutor(CLIENTS, thread_name_prefix="client") as clients:
            attacks = [
                clients.submit(lambda number, place: list(attack(api_url, place, EXAMPLES, number)), number, place)
                for number, place in enumerate(planned)
            ]
            for future in attacks:
                for outcome in future.result():
                    history.operation("api", "request", "ok", attributes=outcome)
        history.operation("api", "engine", "ok", attributes={"queries": engine_queries(api_url) - queries})
        observe_tables(history, stack, "after")
    clause.judge()


def engine_queries(api_url: str) -> float:
    """Queries that have come as far as a connection of the engine."""
    return http.metric(http.get(f"{api_url}/metrics").body, "k2_connection_pool_wait_time_seconds_count", {})


def observe_tables(history: HistoryWriter, stack: Stack, moment: str) -> None:
    """Record the state of each table, read without K2."""
    for record_type in RECORD_TYPES.values():
        view = view_table(stack.settings.storage, record_type.table)
        snapshots = view.snapshots.column("snapshot_id").to_pylist()
        attributes = {
            "moment": moment,
            "table": record_type.table,
            "snapshot_id": snapshots[-1] if snapshots else None,
            "rows": view.rows.num_rows,
            "content": content_hash(view.rows),
        }
        history.operation("harness", "table", "ok", attributes=attributes)


def content_hash(rows: pa.Table) -> str:
    """One hash over all values, whatever the order of the rows."""
    return hashlib.sha256("\n".join(sorted(map(repr, rows.to_pylist()))).encode()).hexdigest()
