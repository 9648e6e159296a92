"""The checkers of slow clients, hostile requests and the contract at their own boundaries, and what they are fed."""

from typing import Any

import pytest

from conformance.checkers import slow_clients
from conformance.checkers.verdict import Outcome, run_checker
from conformance.drivers.contract_rules import keeps_rules
from conformance.drivers.hostile_requests import ABSENT, KNOWN_ATTACKS, places
from conformance.history import Header, History, Operation, OperationOutcome

PLAN: dict[str, Any] = {"limit_seconds": 10.0, "clients": {"idle": 1}, "waiting_kinds": ["idle"], "minimum_requests": 2}


def of_slow_clients(lived_seconds: float | None, alone: list[float], among: list[float]) -> Outcome:
    operations: list[tuple[str, dict[str, Any]]] = [
        ("slow_client", {"kind": "idle", "lived_seconds": lived_seconds, "pieces": 0}),
        ("good_client", {"moment": "alone", "milliseconds": alone, "statuses": [200]}),
        ("good_client", {"moment": "among", "milliseconds": among, "statuses": [200], "open_connections": 1}),
    ]
    events = [Operation("api", name, OperationOutcome.OK, 0, 1, 0, given) for name, given in operations]
    header = Header("clause", (), "slow_clients", 1, "embedded", 0, PLAN)
    return run_checker(slow_clients.check, History(header, tuple(events))).outcome


@pytest.mark.parametrize(
    ("lived_seconds", "outcome"),
    [(10.0, Outcome.PASS), (10.01, Outcome.FAIL), (None, Outcome.FAIL)],
)
def test_a_slow_client_may_live_as_long_as_the_limit(lived_seconds: float | None, outcome: Outcome) -> None:
    assert of_slow_clients(lived_seconds, [5.0, 5.0], [5.0, 5.0]) is outcome


@pytest.mark.parametrize(
    ("among", "outcome"),
    [([10.0, 9.0], Outcome.PASS), ([10.1, 1.0], Outcome.FAIL), ([10.0], Outcome.UNKNOWN)],
)
def test_a_good_client_may_take_twice_as_long(among: list[float], outcome: Outcome) -> None:
    assert of_slow_clients(5.0, [5.0, 4.0], among) is outcome


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (99, 99), (100, 99), (200, 198), (201, 199)])
def test_one_in_a_hundred_exceeds_the_99th_percentile(count: int, expected: int) -> None:
    assert slow_clients.percentile_99([float(n) for n in range(count, 0, -1)]) == expected


@pytest.mark.parametrize(
    ("query", "body", "kept"),
    [
        ({"start_time": "2026-01-01T00:00:00Z", "end_time": "2025-01-01T00:00:00Z"}, None, False),
        ({"start_time": "2025-01-01T00:00:00+01:00", "end_time": "2025-01-01T00:00:00Z"}, None, True),
        ({"start_time": "5", "end_time": 4}, None, False),
        ({"start_time": "no time", "end_time": 4}, None, True),
        ({"snapshot_id": 1, "as_of_time": "2025-01-01T00:00:00Z"}, None, False),
        ({"snapshot_id": 1, "cursor": None}, None, True),
        (None, {"queries": [{"limit": 10_000}] * 10}, True),
        (None, {"queries": [{"limit": 10_000}] * 10 + [{}]}, False),
        (None, {"queries": [{"start_time": 2, "end_time": 1}]}, False),
        (None, {"queries": ["no query"]}, True),
    ],
)
def test_requests_that_break_a_rule_between_parameters_are_known(query: Any, body: Any, kept: bool) -> None:
    assert keeps_rules(query, body) is kept


def test_every_place_of_a_document_is_attacked_and_asks_for_nothing() -> None:
    parameters = [{"name": name} for name in ("symbol", "exchange", "limit")]
    document = {
        "paths": {"/v1/trades": {"get": {"parameters": parameters}}, "/v1/trades/query": {"post": {}}},
        "components": {"schemas": {"BulkQuery": {"properties": {"symbol": {}, "limit": {}}}}},
    }
    found = {place.name: place.others for place in places(document)}
    assert found["query /v1/trades symbol"] == {}
    assert found["query /v1/trades limit"] == {"symbol": ABSENT, "exchange": ABSENT}
    assert found["body /v1/trades/query limit"] == {"symbol": ABSENT}
    assert {"header /v1/trades X-Request-Id", "name /v1/trades any", "path /v1/ any"} <= set(found)
    assert max(map(len, KNOWN_ATTACKS)) == 10_000
