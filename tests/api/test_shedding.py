"""What the API answers at each level, over real files, and how it says so."""

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from k2.api.app import create_app
from k2.clock import SystemClock
from k2.errors import CircuitOpenError
from k2.query.engine import QueryEngine
from k2.records.definition import TRADE
from k2.resilience.degradation import Level, LevelReport
from k2.settings import ApiSettings
from tests.query.table_files import FIRST_TIME_NS, Opened, trade_rows

NOMINAL, DEGRADED, CRITICAL, SHUTDOWN = Level
HOUR_NS = 3_600 * 10**9
SYMBOL = "BTCUSDT"
WINDOW = {"start_time": FIRST_TIME_NS, "end_time": FIRST_TIME_NS + HOUR_NS}
POINT = {"symbol": SYMBOL, **WINDOW, "limit": 3}


@dataclass
class Service:
    """The application at a level that is set by hand."""

    client: TestClient
    opened: Opened
    level: Level = NOMINAL

    def report(self) -> LevelReport:
        return LevelReport(self.level, () if self.level is NOMINAL else ("lag is 1: why not",))

    def shed(self, what: str) -> float:
        return self.opened.metrics.value("k2_shed_total", {"what": what, "level": self.level.name})

    def rows(self, **parameters: Any) -> Any:
        return self.client.get("/v1/trades", params=parameters)

    def bulk(self, *queries: dict[str, Any]) -> Any:
        return self.client.post("/v1/trades/query", json={"queries": list(queries)})


@pytest.fixture
def service(opened: Opened) -> Service:
    opened.source.commit(TRADE, trade_rows(2_400))
    service = Service(None, opened)  # type: ignore[arg-type]
    app = create_app(
        opened.engine,
        ApiSettings(),
        opened.metrics,
        SystemClock(),
        degradation=lambda: service.report(),
        level_hold_seconds=7.2,
    )
    service.client = TestClient(app)
    return service


def refused(answer: Any, service: Service, what: str) -> None:
    """The answer is a refusal of this kind."""
    error = answer.json()["error"]
    assert answer.status_code == 503
    assert (error["code"], error["shed"], error["degradation_level"]) == ("SHED", what, service.level.name)
    assert error["message"].startswith(f"not answered while the service is {service.level.name}: ")
    assert answer.headers["Retry-After"] == "8"
    assert answer.headers["X-Degradation-Level"] == service.level.name
    assert answer.headers["X-Request-Id"] == error["request_id"]


def test_while_nominal_everything_is_answered_and_no_level_is_named(service: Service) -> None:
    for answer in (service.rows(limit=5_000), service.bulk(*[{}] * 11), service.rows(**POINT)):
        assert answer.status_code == 200
        assert "X-Degradation-Level" not in answer.headers
    assert service.rows(symbol=SYMBOL, limit=5_000).json()["meta"]["count"] == 1_200


def test_a_large_page_is_cut_and_its_cursor_leads_to_the_rest(service: Service) -> None:
    service.level = DEGRADED
    first = service.rows(symbol=SYMBOL, limit=5_000).json()
    assert first["meta"]["count"] == 1_000
    second = service.rows(symbol=SYMBOL, limit=5_000, cursor=first["meta"]["next_cursor"]).json()
    assert second["meta"]["count"] == 200
    ids = [row["trade_id"] for page in (first, second) for row in page["data"]]
    assert len(set(ids)) == 1_200
    assert service.shed("large_pages") == 2
    assert service.rows(symbol=SYMBOL, limit=1_000).json()["meta"]["count"] == 1_000
    assert service.shed("large_pages") == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"start_time": FIRST_TIME_NS},
        {"end_time": FIRST_TIME_NS + HOUR_NS},
        {"start_time": FIRST_TIME_NS, "end_time": FIRST_TIME_NS + HOUR_NS + 1},
    ],
)
def test_all_symbols_are_given_within_an_hour_only(service: Service, parameters: dict[str, int]) -> None:
    service.level = DEGRADED
    refused(service.rows(limit=3, **parameters), service, "wide_queries")
    assert service.rows(limit=3, **WINDOW).status_code == 200
    assert service.rows(limit=3, symbol=SYMBOL, **parameters).status_code == 200
    assert service.shed("wide_queries") == 1


def test_a_bulk_request_may_hold_ten_queries_each_as_narrow_as_any_other(service: Service) -> None:
    service.level = DEGRADED
    assert service.bulk(*[POINT] * 10).status_code == 200
    refused(service.bulk(*[POINT] * 11), service, "large_bulk")
    refused(service.bulk(POINT, {"limit": 3}), service, "wide_queries")
    (entry,) = service.bulk({"symbol": SYMBOL, "limit": 5_000}).json()["data"]
    assert entry["meta"]["count"] == 1_000


def test_while_critical_only_windows_of_one_symbol_are_given(service: Service) -> None:
    service.level = CRITICAL
    assert service.rows(**POINT).json()["meta"]["count"] == 3
    refused(service.rows(symbol=SYMBOL), service, "unbounded_queries")
    refused(service.rows(**WINDOW), service, "unbounded_queries")
    refused(service.bulk(POINT), service, "bulk")
    for path in ("/v1/symbols", "/v1/gaps"):
        refused(service.client.get(path, params={"data_type": "trades"}), service, "listings")
    assert (service.shed("unbounded_queries"), service.shed("bulk"), service.shed("listings")) == (2, 1, 2)


def test_at_shutdown_no_data_is_given_and_health_says_not_ready(service: Service) -> None:
    service.level = SHUTDOWN
    for answer in (service.rows(**POINT), service.client.get("/v1/symbols?data_type=trades"), service.bulk(POINT)):
        refused(answer, service, "requests")
        assert answer.headers["Connection"] == "close"
    health = service.client.get("/health")
    body = health.json()
    assert health.status_code == 503
    assert (body["status"], body["live"], body["ready"], body["checks"]) == ("shutdown", True, False, {"catalog": "ok"})
    assert (body["degradation_level"], body["degradation_reasons"]) == ("SHUTDOWN", ["lag is 1: why not"])
    assert body["error"]["code"] == "NOT_READY"
    assert service.client.get("/metrics").status_code == 200
    assert service.client.get("/v1/candles").status_code == 404


def test_at_shutdown_a_body_is_not_even_read(service: Service) -> None:
    service.level = SHUTDOWN
    oversized = {"Content-Type": "application/json", "Content-Length": str(11 * 1024 * 1024)}
    answer = service.client.post("/v1/trades/query", content=b"{}", headers=oversized)
    refused(answer, service, "requests")


@pytest.mark.parametrize("level", [DEGRADED, CRITICAL])
def test_below_shutdown_health_is_ready_and_tells_level_and_reasons(service: Service, level: Level) -> None:
    service.level = level
    answer = service.client.get("/health")
    assert answer.status_code == 200
    assert (answer.json()["ready"], answer.json()["degradation_level"]) == (True, level.name)
    assert answer.json()["degradation_reasons"] == ["lag is 1: why not"]
    assert answer.headers["X-Degradation-Level"] == level.name


def test_bad_parameters_are_told_at_every_level_below_shutdown(service: Service) -> None:
    service.level = CRITICAL
    assert service.rows(limit=0).status_code == 422
    assert service.rows(nonsense=1).status_code == 422


def test_an_open_breaker_is_503_with_the_time_to_come_back_and_tells_nothing_of_the_inside(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise CircuitOpenError("catalog", 3.2)

    monkeypatch.setattr(QueryEngine, "query_rows", refuse)
    answer = service.rows(**POINT)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UNAVAILABLE"
    assert answer.headers["Retry-After"] == "4"
    assert "catalog" not in answer.text
    monkeypatch.setattr(QueryEngine, "check_source", refuse)
    assert service.client.get("/health").json()["checks"] == {"catalog": "it is left alone after failures"}
