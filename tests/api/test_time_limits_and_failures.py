"""What clients see when a query takes too long, finds no connection, or something breaks."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from k2.api import problems
from k2.query.engine import QueryEngine
from k2.records.definition import TRADE
from tests.api.conftest import error_document
from tests.query.table_files import GAP, Opened, trade_rows

MakeClient = Callable[..., TestClient]

# A hundred wide queries take hundreds of milliseconds on any machine.
HEAVY: dict[str, Any] = {"queries": [{}] * 100}


def test_a_query_over_the_limit_is_504_and_the_next_one_is_answered(make_client: MakeClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(2_000))
    client = make_client(time_limit_seconds=0.05)
    with opened.pool.acquire() as warmed_up:
        assert warmed_up.is_usable()
    started = time.monotonic()
    answer = client.post("/v1/trades/query", json=HEAVY)
    assert time.monotonic() - started < 2
    assert answer.status_code == 504
    message = (
        "the trades query was stopped at its limit of 0.05 s; ask for one symbol, a shorter time range or fewer rows"
    )
    assert answer.json() == error_document(problems.QUERY_TIMEOUT, message, limit_seconds=0.05)
    assert opened.pool.statistics()["active_connections"] == 0
    assert make_client().get("/v1/trades", params={"limit": 5}).json()["meta"]["count"] == 5
    assert opened.pool.statistics()["peak_utilization"] == 1


def test_planning_that_hangs_is_504_in_time_and_its_thread_is_counted_until_it_ends(
    make_client: MakeClient, opened: Opened
) -> None:
    opened.source.commit(TRADE, trade_rows(5))
    plan, released = opened.source.plan, threading.Event()

    def hang(*arguments: Any, **options: Any) -> Any:
        released.wait(20)
        return plan(*arguments, **options)

    opened.source.plan = hang  # type: ignore[method-assign]
    with make_client(time_limit_seconds=0.1) as client:
        started = time.monotonic()
        answer = client.get("/v1/trades")
        assert time.monotonic() - started < 5
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "QUERY_TIMEOUT")
        assert opened.metrics.value("k2_api_abandoned_threads") == 1
        assert opened.pool.statistics()["total_acquisitions"] == 0
        released.set()
        give_up_at = time.monotonic() + 5
        while opened.metrics.value("k2_api_abandoned_threads"):
            assert time.monotonic() < give_up_at, "the thread did not end"
            time.sleep(0.01)
        opened.source.plan = plan  # type: ignore[method-assign]
        assert client.get("/v1/trades").status_code == 200
    assert opened.pool.statistics()["total_acquisitions"] == 1


def test_a_request_that_finds_no_connection_is_told_when_to_come_back(make_client: MakeClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(5))
    client = make_client(pool_wait_seconds=0.05)
    with opened.pool.acquire():
        for path in ("/v1/trades", "/v1/symbols?data_type=trades"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "POOL_EXHAUSTED"
            assert answer.headers["Retry-After"] == "1"
    assert client.get("/v1/trades").status_code == 200


def test_health_and_metrics_answer_while_queries_wait_for_connections(make_client: MakeClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(5))
    with make_client(pool_wait_seconds=20) as client, ThreadPoolExecutor(60) as threads:
        with opened.pool.acquire():
            queries = [threads.submit(client.get, "/v1/trades") for _ in range(60)]
            give_up = time.monotonic() + 10
            while len(opened.pool._waiters) < 60:
                assert time.monotonic() < give_up, "the queries did not come to wait"
                time.sleep(0.01)
            started = time.monotonic()
            assert client.get("/health").json()["ready"] is True
            assert client.get("/metrics").status_code == 200
            assert time.monotonic() - started < 2
        assert [query.result().status_code for query in queries] == [200] * 60


def test_a_source_that_cannot_be_read_is_503_and_tells_nothing_of_it(client: TestClient, opened: Opened) -> None:
    opened.source.readable = False
    answer = client.get("/v1/trades")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UNAVAILABLE"
    assert "secret-place" not in answer.text


@pytest.mark.parametrize("failure", [RuntimeError("inside: /etc/secret"), ZeroDivisionError(), MemoryError()])
def test_a_failure_inside_is_500_without_a_word_about_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, failure: Exception, opened: Opened
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(QueryEngine, "query_rows", fail)
    answer = client.get("/v1/trades")
    assert answer.status_code == 500
    assert answer.json() == error_document(problems.INTERNAL_ERROR, "the request failed; the log has the reason")
    labels = {"method": "GET", "endpoint": "/v1/trades", "status": "500"}
    assert opened.metrics.value("k2_http_requests_total", labels) == 1


def test_a_query_duckdb_refuses_is_500_without_its_words(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    plan = opened.source.plan(TRADE.table)
    outside = type(plan)(plan.table, 1, 1, ("/etc/passwd",))
    opened.source.plan = lambda table, **_: outside  # type: ignore[method-assign]
    answer = client.get("/v1/trades")
    assert answer.status_code == 500
    assert "passwd" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/v1/trades/", 404, "NOT_FOUND"),
        ("GET", "/v1/hybrid/trades", 404, "NOT_FOUND"),
        ("POST", "/v1/trades", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v1/trades/query", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/health", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_the_frameworks_own_errors_come_in_the_envelope(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["success"] is False
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["request_id"] == "made-0"
    assert (status == 405) is ("allow" in answer.headers)


def test_gaps_and_symbols_are_listed(client: TestClient, opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(4))
    gaps = client.get("/v1/gaps", params={"data_type": "trades", "symbol": GAP.symbol}).json()
    assert gaps["data"] == [
        {"exchange": "BINANCE", "symbol": "BTCUSDT", "first_missing": 7, "last_missing": 9, "tracker": "source"}
    ]
    assert gaps["meta"]["count"] == 1
    assert client.get("/v1/gaps", params={"data_type": "quotes"}).json()["data"] == []
    symbols = client.get("/v1/symbols", params={"data_type": "trades", "exchange": "BINANCE"}).json()
    assert symbols["data"] == [
        {"exchange": "BINANCE", "asset_class": "crypto", "symbol": symbol} for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    assert symbols["meta"]["snapshot_id"] == 1


@pytest.mark.parametrize("path", ["/v1/gaps", "/v1/symbols"])
@pytest.mark.parametrize("parameters", [{}, {"data_type": "candles"}, {"data_type": "trades", "unknown": 1}])
def test_gaps_and_symbols_refuse_what_they_do_not_know(
    client: TestClient, path: str, parameters: dict[str, Any]
) -> None:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 422
    assert answer.json()["error"]["parameter"] == ("unknown" if "unknown" in parameters else "data_type")


def test_health_tells_what_is_ready(client: TestClient, opened: Opened) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "live": True,
        "ready": True,
        "degradation_level": "NOMINAL",
        "degradation_reasons": [],
        "checks": {"catalog": "ok", "freshness": "ok"},
        "freshness": {"limit_seconds": 300.0, "tables": {"trades": {}, "quotes": {}, "reference_data": {}}},
    }
    opened.source.readable = False
    answer = client.get("/health")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["live"], body["ready"]) == ("unavailable", True, False)
    assert body["error"]["code"] == "NOT_READY"
    assert "secret-place" not in answer.text


def test_health_does_not_wait_for_a_catalog_that_hangs(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(check_timeout_seconds=0.05)
    released = threading.Event()
    monkeypatch.setattr(QueryEngine, "check_source", lambda _: released.wait(10))
    started = time.monotonic()
    try:
        answers = [client.get("/health") for _ in range(6)]
    finally:
        released.set()
    assert [answer.status_code for answer in answers] == [503] * 6
    assert answers[0].json()["checks"] == {"catalog": "no answer within 0.05 s"}
    assert time.monotonic() - started < 5
