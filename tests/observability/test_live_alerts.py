"""What Prometheus says is firing, filtered and in order; what is no Prometheus is said to be none."""

import pytest

from k2.errors import K2Error, RefusedError, UnavailableError, UsageError
from k2.observability.alerts.live import AlertFilter, live_alerts
from tests.observability.prometheus_server import alerts_server, entry

ALERTS = [
    entry("QueryP99High", "medium", "query"),
    entry("APIErrorRateHigh", "critical", state="pending"),
    entry("NoDataIngested", "high", "ingestion"),
    entry("APIDown", "critical"),
    entry("Odd", "loud"),
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (AlertFilter(), ["APIDown", "NoDataIngested", "QueryP99High", "Odd", "APIErrorRateHigh"]),
        (AlertFilter(severity="critical"), ["APIDown", "APIErrorRateHigh"]),
        (AlertFilter(component="query"), ["QueryP99High"]),
        (AlertFilter("high", "api"), []),
    ],
)
def test_firing_ones_come_first_and_loud_ones_before_others(wanted: AlertFilter, names: list[str]) -> None:
    with alerts_server() as server:
        server.alerts = ALERTS
        assert [alert.name for alert in live_alerts(server.url, wanted)] == names


def test_an_alert_keeps_its_labels_and_its_summary() -> None:
    with alerts_server() as server:
        server.alerts = [entry("ConsumerLagCritical", "critical", "ingestion", data_type="trades")]
        (alert,) = live_alerts(f"{server.url}/", AlertFilter())
    assert (alert.state, alert.component, alert.summary) == ("firing", "ingestion", "ConsumerLagCritical it is")
    assert alert.labels["data_type"] == "trades"
    assert alert.active_since == "2026-11-21T09:45:00Z"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (503, b"", "answers 503"),
        (200, b"<html>", "does not answer in JSON"),
        (200, b"{}", "does not answer as Prometheus does"),
        (200, b'{"data": {"alerts": [{"state": "firing"}]}}', "does not answer as Prometheus does"),
    ],
)
def test_what_is_no_prometheus_is_refused(status: int, body: bytes, problem: str) -> None:
    with alerts_server() as server:
        server.status, server.body = status, body
        with pytest.raises(RefusedError, match=problem):
            live_alerts(server.url, AlertFilter())


@pytest.mark.parametrize(("url", "error"), [("http://127.0.0.1:9", UnavailableError), ("127.0.0.1:9090", UsageError)])
def test_where_nobody_answers_one_line_says_so(url: str, error: type[K2Error]) -> None:
    with pytest.raises(error, match=r"127\.0\.0\.1"):
        live_alerts(url, AlertFilter())
