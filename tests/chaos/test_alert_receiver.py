"""The webhook keeps what Alertmanager tells, and knows which alerts are not over."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from chaos.alerts.receiver import AlertReceiver


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with AlertReceiver("127.0.0.1") as opened:
        yield opened


def tell(receiver: AlertReceiver, path: str, body: bytes) -> int:
    request = urllib.request.Request(f"http://{receiver.address}/{path}", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def notification(status: str, *names: str, fingerprint: str = "f") -> bytes:
    alerts = [
        {"status": status, "labels": {"alertname": name, "severity": "critical"}, "fingerprint": fingerprint}
        for name in names
    ]
    return json.dumps({"receiver": "pager", "alerts": alerts}).encode()


def test_every_alert_of_a_notification_is_kept_with_who_was_told(receiver: AlertReceiver) -> None:
    assert tell(receiver, "pager", notification("firing", "APIDown", "KafkaBrokerDown")) == 200
    rows = receiver.table().to_pylist()
    assert [(row["receiver"], row["status"], row["alert"], row["severity"]) for row in rows] == [
        ("pager", "firing", "APIDown", "critical"),
        ("pager", "firing", "KafkaBrokerDown", "critical"),
    ]
    assert json.loads(rows[0]["labels"])["alertname"] == "APIDown"
    assert abs(time.time_ns() - rows[0]["wall_ns"]) < 60 * 10**9


def test_an_alert_is_open_until_its_own_end_is_told(receiver: AlertReceiver) -> None:
    tell(receiver, "pager", notification("firing", "APIDown", fingerprint="one"))
    tell(receiver, "pager", notification("firing", "APIDown", fingerprint="other"))
    tell(receiver, "pager", notification("resolved", "APIDown", fingerprint="one"))
    assert receiver.open_alerts() == {"APIDown"}
    tell(receiver, "pager", notification("resolved", "APIDown", fingerprint="other"))
    assert receiver.open_alerts() == set()


def test_what_was_heard_before_a_time_is_not_heard_since(receiver: AlertReceiver) -> None:
    tell(receiver, "pager", notification("firing", "APIDown"))
    now_ns = time.time_ns()
    tell(receiver, "business-hours", notification("firing", "NoDataIngested"))
    assert receiver.heard_since(now_ns) == {"NoDataIngested"}
    assert receiver.heard_since(0) == {"APIDown", "NoDataIngested"}


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"alerts": [{}]}'])
def test_what_is_no_notification_is_refused_and_not_kept(receiver: AlertReceiver, body: bytes) -> None:
    assert tell(receiver, "pager", body) == 400
    assert receiver.table().num_rows == 0
