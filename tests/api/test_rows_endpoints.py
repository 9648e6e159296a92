"""/v1/trades, /v1/quotes, /v1/reference and the bulk query over real files."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient

from k2.api.cursor import Cursor
from k2.query.result import Position
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE
from tests.query.table_files import FIRST_TIME_NS, Opened, quote_rows, reference_rows, trade_rows


def ids(body: dict[str, Any]) -> list[str]:
    return [row["trade_id"] for row in body["data"]]


def test_a_trade_is_shown_exactly(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1, price=[Decimal("61837.63")], quantity=[Decimal("0.0000000001")]))
    answer = client.get("/v1/trades")
    assert answer.status_code == 200
    assert answer.json()["data"] == [
        {
            "session": "s-1",
            "session_sequence": 1,
            "exchange": "BINANCE",
            "symbol": "BTCUSDT",
            "asset_class": "crypto",
            "event_time_ns": FIRST_TIME_NS,
            "receive_time_ns": FIRST_TIME_NS,
            "source_sequence": 0,
            "trade_id": "0",
            "price": "61837.63",
            "quantity": "0.0000000001",
            "side": "BUY",
            "venue": None,
            "conditions": None,
            "vendor_data": {"stream": "a", "id": "0"},
            "topic": "market.crypto.trades",
            "kafka_partition": 0,
            "kafka_offset": 0,
            "schema_id": 1,
            "event_time": "2026-11-21T09:45:00.000000Z",
            "receive_time": "2026-11-21T09:45:00.000000Z",
            "sequence_event": "IN_ORDER",
            "quality_flags": 0,
        }
    ]
    assert answer.json()["meta"] == {
        "snapshot_id": 1,
        "snapshot_time_ms": 1_000,
        "count": 1,
        "next_cursor": None,
        "request_id": "made-0",
    }
    assert answer.json()["success"] is True


def test_quotes_have_their_own_columns(client: TestClient, opened: Opened) -> None:
    opened.source.commit(QUOTE, quote_rows(2))
    rows = client.get("/v1/quotes").json()["data"]
    assert [row["bid_price"] for row in rows] == ["99.5", None]
    assert {row["ask_price"] for row in rows} == {"100.0000000001"}


def test_reference_data_has_its_own_columns(client: TestClient, opened: Opened) -> None:
    opened.source.commit(REFERENCE_DATA, reference_rows(2))
    rows = client.get("/v1/reference", params={"symbol": "BHP", "exchange": "ASX"}).json()["data"]
    assert [row["tick_size"] for row in rows] == ["1", "0.1"]
    assert rows[0]["listed_at_ns"] == -2_650_924_800 * 10**9
    assert (rows[0]["name"], rows[0]["listing_status"]) == ("BHP Group Limited", "ACTIVE")
    assert client.get("/v1/reference", params={"symbol": "RIO"}).json()["data"] == []


def test_an_empty_table_answers_with_no_rows(client: TestClient) -> None:
    body = client.get("/v1/quotes").json()
    assert body["data"] == []
    assert body["meta"]["snapshot_id"] is None
    assert body["meta"]["next_cursor"] is None


@pytest.mark.parametrize(
    "times",
    [
        {"start_time": "2026-11-21T09:45:00.003Z", "end_time": "2026-11-21T09:45:00.006000000Z"},
        {"start_time": "2026-11-21T20:45:00.003+11:00", "end_time": str(FIRST_TIME_NS + 6_000_000)},
        {"start_time": FIRST_TIME_NS + 2_000_001, "end_time": FIRST_TIME_NS + 5_000_001},
    ],
)
def test_times_select_a_half_open_window(client: TestClient, opened: Opened, times: dict[str, Any]) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    assert ids(client.get("/v1/trades", params=times).json()) == ["3", "4", "5"]


def test_names_select(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(4))
    assert ids(client.get("/v1/trades", params={"symbol": "ETHUSDT", "exchange": "BINANCE"}).json()) == ["1", "3"]
    assert ids(client.get("/v1/trades", params={"exchange": "' OR 1=1 --"}).json()) == []


def test_pages_walk_all_rows_once_while_the_table_grows(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(50, event_time_ns=[FIRST_TIME_NS + n // 7 for n in range(50)]))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = client.get("/v1/trades", params={"limit": 8, **cursor}).json()
        seen += ids(body)
        assert body["meta"]["snapshot_id"] == 1
        opened.source.commit(TRADE, trade_rows(3, first=10))
        if body["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": body["meta"]["next_cursor"]}
    assert seen == [str(n) for n in range(50)]


def test_a_snapshot_can_be_named(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(2))
    opened.source.commit(TRADE, trade_rows(2, first=2))
    body = client.get("/v1/trades", params={"snapshot_id": 1}).json()
    assert ids(body) == ["0", "1"]
    assert body["meta"]["snapshot_id"] == 1


def test_the_snapshot_of_a_moment_can_be_asked_for(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(2))
    opened.source.commit(TRADE, trade_rows(2, first=2))
    body = client.get("/v1/trades", params={"as_of_time": "1970-01-01T00:00:01.9Z", "limit": 1}).json()
    assert (ids(body), body["meta"]["snapshot_id"]) == (["0"], 1)
    following = client.get("/v1/trades", params={"cursor": body["meta"]["next_cursor"]}).json()
    assert (ids(following), following["meta"]["snapshot_id"]) == (["1"], 1)
    assert client.get("/v1/trades", params={"as_of_time": "1970-01-01T00:00:00Z"}).json()["data"] == []
    both = client.get("/v1/trades", params={"as_of_time": "1970-01-01T00:00:01Z", "snapshot_id": 1})
    assert (both.status_code, both.json()["error"]["parameter"]) == (422, "as_of_time")


def test_snapshots_are_listed_with_the_newest_first(client: TestClient, opened: Opened) -> None:
    for first in range(0, 6, 2):
        opened.source.commit(TRADE, trade_rows(2, first=first))
    body = client.get("/v1/snapshots", params={"data_type": "trades", "limit": 2}).json()
    assert [snapshot["snapshot_id"] for snapshot in body["data"]] == [3, 2]
    assert body["data"][0] == {
        "snapshot_id": 3,
        "parent_id": 2,
        "sequence_number": 3,
        "committed_time_ms": 3_000,
        "operation": "append",
        "added_records": 1,
        "total_records": None,
        "is_current": True,
    }
    assert (body["meta"]["count"], body["meta"]["total"]) == (2, 3)
    assert client.get("/v1/snapshots", params={"data_type": "quotes"}).json()["data"] == []


def test_a_snapshot_that_is_gone_is_not_found(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(2))
    gone = Cursor(77, Position(0, 0, 0, "t", "s")).encode()
    for name, value in (("snapshot_id", 77), ("cursor", gone)):
        answer = client.get("/v1/trades", params={name: value})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "SNAPSHOT_NOT_FOUND")
        assert "has no snapshot 77" in answer.json()["error"]["message"]


def encoded(fields: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"end_time": 2**63}, "end_time"),
        ({"start_time": 5, "end_time": 4}, "end_time"),
        ({"symbol": ""}, "symbol"),
        ({"exchange": "x" * 129}, "exchange"),
        ({"snapshot_id": -1}, "snapshot_id"),
        ({"snapshot_id": 2**63}, "snapshot_id"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": encoded([1, 2, 3])}, "cursor"),
        ({"cursor": encoded([1, "2", 3, 4, "t", "s"])}, "cursor"),
        ({"cursor": encoded([1, 2**63, 3, 4, "t", "s"])}, "cursor"),
        ({"cursor": encoded({"a": 1})}, "cursor"),
        ({"snapshot_id": 2, "cursor": Cursor(1, Position(0, 0, 0, "t", "s")).encode()}, "cursor"),
        ({"symbl": "BTCUSDT"}, "symbl"),
        ({"LIMIT": 5}, "LIMIT"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/trades", "/v1/quotes"])
def test_a_parameter_that_cannot_be_used_is_named(
    client: TestClient, path: str, parameters: dict[str, Any], named: str
) -> None:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "INVALID_PARAMETER"
    assert error["parameter"] == named
    assert error["message"].startswith(f"{named}: ")
    assert answer.json()["success"] is False


def test_a_parameter_given_twice_is_refused(client: TestClient) -> None:
    answer = client.get("/v1/trades?symbol=A&symbol=B")
    assert answer.status_code == 422
    assert answer.json()["error"]["parameter"] == "symbol"


def test_a_bulk_query_answers_each_in_its_order_from_one_snapshot(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    queries = [
        {"symbol": "ETHUSDT", "limit": 2},
        {"exchange": "NOWHERE"},
        {"start_time": "2026-11-21T09:45:00.008Z", "end_time": FIRST_TIME_NS + 9_000_000},
    ]
    body = client.post("/v1/trades/query", json={"queries": queries}).json()
    assert [[row["trade_id"] for row in entry["rows"]] for entry in body["data"]] == [["1", "3"], [], ["8"]]
    assert [entry["meta"]["count"] for entry in body["data"]] == [2, 0, 1]
    assert body["meta"] == {"snapshot_id": 1, "snapshot_time_ms": 1_000, "count": 3, "request_id": "made-0"}
    assert opened.pool.statistics()["total_acquisitions"] == 1

    cursor = body["data"][0]["meta"]["next_cursor"]
    rest = client.get("/v1/trades", params={"symbol": "ETHUSDT", "cursor": cursor}).json()
    assert ids(rest) == ["5", "7", "9"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"queries": []}, "queries"),
        ({"queries": [{}] * 101}, "queries"),
        ({"queries": [{"limit": 10_000}] * 11}, "queries"),
        ({"queries": [{}, {"limit": 0}]}, "queries.1.limit"),
        ({"queries": [{"start_time": True}]}, "queries.0.start_time"),
        ({"queries": [{"cursor": "x"}]}, "queries.0.cursor"),
        ({"queries": [{}], "also": 1}, "also"),
        ({}, "queries"),
        ([], "body"),
    ],
)
def test_a_bulk_query_that_cannot_be_used_is_named(client: TestClient, body: object, named: str) -> None:
    answer = client.post("/v1/trades/query", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["parameter"] == named


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"queries":[{"symbol":"\\ud800"}]}', b"[" * 5_000])
def test_a_body_that_is_not_json_or_not_text_is_the_clients_fault(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/trades/query", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["success"] is False


def test_a_hundred_queries_at_once_are_allowed(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(3))
    body = client.post("/v1/trades/query", json={"queries": [{}] * 100}).json()
    assert [entry["meta"]["count"] for entry in body["data"]] == [3] * 100
