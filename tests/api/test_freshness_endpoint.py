"""What /health and /metrics say of tables whose rows stop coming."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from k2.api.app import create_app
from k2.observability.freshness import NewestRows
from k2.query.engine import QueryEngine
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE
from k2.settings import ApiSettings
from tests.api.conftest import MakeClient, served_api
from tests.query.table_files import Opened

START_NS = 1_795_254_300_000_000_000
SECOND_NS = 10**9
SILENCE, AGE = "k2_table_silence_seconds", "k2_table_freshness_seconds"


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def client(opened: Opened, clock: Hands) -> TestClient:
    """An API that reports a silence of more than ten seconds."""
    return TestClient(create_app(opened.engine, ApiSettings(freshness_limit_seconds=10), opened.metrics, clock))


def newest(exchange: str, committed_ns: int = START_NS, received_ns: int = START_NS) -> NewestRows:
    return NewestRows(exchange, received_ns - 5, received_ns, committed_ns)


def health(client: TestClient) -> dict[str, Any]:
    answer = client.get("/health")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    assert body["ready"] is True
    return body


def sample(client: TestClient, name: str, data_type: str, exchange: str) -> float | None:
    start = f'{name}{{data_type="{data_type}",exchange="{exchange}"}} '
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(start)]
    return float(lines[0].removeprefix(start)) if lines else None


def test_an_empty_platform_raises_no_alarm(client: TestClient, clock: Hands) -> None:
    clock.wait(100_000)
    body = health(client)
    assert body["status"] == "ok"
    assert body["checks"]["freshness"] == "ok"
    assert body["freshness"] == {"limit_seconds": 10.0, "tables": {"trades": {}, "quotes": {}, "reference_data": {}}}
    assert f"{SILENCE}{{" not in client.get("/metrics").text


def test_a_silence_is_reported_from_the_limit_on_and_cleared_by_the_next_rows(
    client: TestClient, opened: Opened, clock: Hands
) -> None:
    opened.source.newest[TRADE.table] = (newest("BINANCE"),)
    clock.wait(10)
    body = health(client)
    assert body["status"] == "ok"
    assert body["freshness"]["tables"]["trades"]["BINANCE"] == {
        "status": "fresh",
        "silence_seconds": 10.0,
        "age_seconds": 10.0,
        "newest_event_time_ns": START_NS - 5,
        "newest_receive_time_ns": START_NS,
    }
    clock.wait(0.5)
    body = health(client)
    assert body["status"] == "stale"
    assert body["checks"] == {"catalog": "ok", "freshness": "trades of BINANCE: no row for 10 s"}
    assert body["freshness"]["tables"]["trades"]["BINANCE"]["status"] == "stale"
    opened.source.newest[TRADE.table] = (newest("BINANCE", clock.now_ns, clock.now_ns),)
    assert health(client)["status"] == "ok"


def test_each_exchange_of_each_table_is_told_apart(client: TestClient, opened: Opened, clock: Hands) -> None:
    late_ns = START_NS + 60 * SECOND_NS
    opened.source.newest[TRADE.table] = (newest("ASX"), newest("BINANCE", late_ns))
    opened.source.newest[QUOTE.table] = (newest("BINANCE"),)
    clock.wait(60)
    body = health(client)
    assert body["status"] == "stale"
    assert body["checks"]["freshness"] == "trades of ASX: no row for 60 s; quotes of BINANCE: no row for 60 s"
    statuses = {
        (data_type, exchange): entry["status"]
        for data_type, exchanges in body["freshness"]["tables"].items()
        for exchange, entry in exchanges.items()
    }
    assert statuses == {
        ("trades", "ASX"): "stale",
        ("trades", "BINANCE"): "fresh",
        ("quotes", "ASX"): "never",
        ("quotes", "BINANCE"): "stale",
        ("reference_data", "ASX"): "never",
        ("reference_data", "BINANCE"): "never",
    }


def test_reference_data_may_be_silent_for_as_long_as_nothing_changes(
    client: TestClient, opened: Opened, clock: Hands
) -> None:
    opened.source.newest[REFERENCE_DATA.table] = (newest("ASX"),)
    clock.wait(100_000)
    body = health(client)
    assert body["status"] == "ok"
    shown = body["freshness"]["tables"]["reference_data"]["ASX"]
    assert (shown["status"], shown["silence_seconds"]) == ("fresh", 100_000)
    assert sample(client, SILENCE, "reference_data", "ASX") == 100_000


def test_an_old_recording_that_comes_in_now_is_old_and_not_silent(
    client: TestClient, opened: Opened, clock: Hands
) -> None:
    opened.source.newest[TRADE.table] = (newest("BINANCE", received_ns=START_NS - 86_400 * SECOND_NS),)
    clock.wait(1)
    assert health(client)["status"] == "ok"
    assert sample(client, SILENCE, "trades", "BINANCE") == 1
    assert sample(client, AGE, "trades", "BINANCE") == 86_401


def test_a_consumers_clock_far_ahead_hides_no_silence(client: TestClient, opened: Opened) -> None:
    opened.source.newest[TRADE.table] = (newest("BINANCE", START_NS + 9 * SECOND_NS),)
    assert health(client)["status"] == "ok"
    opened.source.newest[TRADE.table] = (newest("BINANCE", START_NS + 3_600 * SECOND_NS),)
    body = health(client)
    assert body["status"] == "stale"
    assert body["checks"]["freshness"] == "trades of BINANCE: its consumer's clock is 3600 s ahead"


def test_the_gauges_grow_with_the_clock_also_without_the_catalog(
    client: TestClient, opened: Opened, clock: Hands
) -> None:
    opened.source.newest[TRADE.table] = (newest("BINANCE"),)
    clock.wait(2)
    assert sample(client, SILENCE, "trades", "BINANCE") == 2
    opened.source.readable = False
    clock.wait(5)
    assert sample(client, SILENCE, "trades", "BINANCE") == 7
    assert sample(client, AGE, "trades", "BINANCE") == 7
    assert client.get("/health").status_code == 503


def test_tables_that_do_not_tell_how_new_they_are_cannot_be_called_fresh(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("damaged at sqlite:///secret-place")

    monkeypatch.setattr(QueryEngine, "newest_rows", fail)
    body = health(client)
    assert body["status"] == "stale"
    assert body["checks"]["freshness"] == "it cannot be read"
    assert client.get("/metrics").status_code == 200


def test_a_scrape_does_not_wait_for_tables_that_hang(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(check_timeout_seconds=0.05)
    released = threading.Event()
    monkeypatch.setattr(QueryEngine, "newest_rows", lambda *_: released.wait(20) and ())
    started = time.monotonic()
    try:
        answers = [client.get("/metrics") for _ in range(6)]
    finally:
        released.set()
    assert [answer.status_code for answer in answers] == [200] * 6
    assert "k2_connection_pool_size" in answers[-1].text
    assert time.monotonic() - started < 10


def test_a_served_api_tells_the_freshness_of_its_tables(tmp_path: Path) -> None:
    with served_api(tmp_path, freshness_limit_seconds=5) as served:
        answer = served.exchange(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"freshness":{"limit_seconds":5.0,"tables":{"trades":{},"quotes":{},"reference_data":{}}}' in answer
        scraped = served.exchange(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert b"# TYPE k2_table_silence_seconds gauge" in scraped
