"""Request ids, request metrics, the OpenAPI document."""

import json
from typing import get_args

import pytest
from starlette.testclient import TestClient

from k2.api.parameters import DataType
from k2.records.definition import RECORD_TYPES, TRADE
from tests.query.table_files import Opened, trade_rows


@pytest.mark.parametrize("given", ["abc", "5b1c.0-C_0", "x" * 64])
def test_a_usable_request_id_is_kept_in_header_and_body(client: TestClient, given: str) -> None:
    for path in ("/v1/trades", "/nowhere"):
        answer = client.get(path, headers={"X-Request-Id": given})
        body = answer.json()
        assert answer.headers["X-Request-Id"] == given
        assert (body["meta"] if body["success"] else body["error"])["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "<script>", "a;b"])
def test_any_other_request_id_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/v1/trades", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert answer.headers["X-Request-Id"] == "made-0"
    assert answer.json()["meta"]["request_id"] == "made-0"


def test_requests_are_counted_and_timed_by_route(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    for _ in range(3):
        client.get("/v1/trades?limit=1")
    client.get("/v1/trades?limit=0")
    client.post("/health")
    count = opened.metrics.value
    assert count("k2_http_requests_total", {"method": "GET", "endpoint": "/v1/trades", "status": "200"}) == 3
    assert count("k2_http_requests_total", {"method": "GET", "endpoint": "/v1/trades", "status": "422"}) == 1
    assert count("k2_http_requests_total", {"method": "POST", "endpoint": "/health", "status": "405"}) == 1
    timed = {"method": "GET", "endpoint": "/v1/trades"}
    assert opened.metrics.registry.get_sample_value("k2_http_request_duration_seconds_count", timed) == 4


def test_clients_cannot_invent_metric_labels(client: TestClient, opened: Opened) -> None:
    for number in range(20):
        client.request(f"BREW{number}", f"/nowhere/{number}")
    labels = {"method": "OTHER", "endpoint": "unmatched", "status": "404"}
    assert opened.metrics.value("k2_http_requests_total", labels) == 20
    assert "BREW" not in opened.metrics.exposition().decode()


def test_metrics_are_exposed_in_the_prometheus_format(client: TestClient) -> None:
    client.get("/v1/trades")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "k2_connection_pool_size 1.0" in answer.text
    assert 'k2_http_requests_total{endpoint="/v1/trades",method="GET",status="200"} 1.0' in answer.text


def test_the_openapi_document_has_an_example_for_every_answer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/trades",
        "/v1/quotes",
        "/v1/reference",
        "/v1/trades/query",
        "/v1/symbols",
        "/v1/gaps",
        "/v1/snapshots",
        "/health",
        "/metrics",
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                assert all("example" in content for content in answer["content"].values()), (path, status)
    assert "HTTPValidationError" not in json.dumps(document)
    error = document["components"]["schemas"]["ErrorDetail"]
    assert {"code", "message", "request_id"} <= set(error["properties"])


def test_the_example_of_a_trade_has_the_keys_of_a_trade(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    body = client.get("/v1/trades").json()
    responses = client.get("/openapi.json").json()["paths"]["/v1/trades"]["get"]["responses"]
    example = responses["200"]["content"]["application/json"]["example"]
    assert example["data"][0].keys() == body["data"][0].keys()
    assert example["meta"].keys() == body["meta"].keys()


def test_every_record_type_can_be_asked_for() -> None:
    assert set(get_args(DataType)) == set(RECORD_TYPES)
