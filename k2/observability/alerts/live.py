"""Alerts as Prometheus sees them now."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from k2.errors import RefusedError, UnavailableError, UsageError
from k2.observability.alerts.severities import SEVERITIES

_TIMEOUT_SECONDS = 10.0
_STATES = ("firing", "pending")


@dataclass(frozen=True, slots=True)
class LiveAlert:
    """An alert that is pending or firing.

    Attributes:
        name: of its rule.
        state: "firing", or "pending" while it has not held for long enough.
        severity: "critical", "high" or "medium"; empty if its rule says none.
        component: what it is about; empty if its rule says nothing.
        active_since: RFC 3339, when its expression began to hold.
        summary: one line for people.
        labels: all of them.
        annotations: all of them.
    """

    name: str
    state: str
    severity: str
    component: str
    active_since: str
    summary: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are wanted; None takes all."""

    severity: str | None = None
    component: str | None = None

    def takes(self, alert: LiveAlert) -> bool:
        """Whether an alert is one of them."""
        return self.severity in (None, alert.severity) and self.component in (None, alert.component)


def live_alerts(prometheus_url: str, wanted: AlertFilter) -> tuple[LiveAlert, ...]:
    """What Prometheus says is pending or firing: the firing ones first, each group by severity, name and time.

    Raises:
        UsageError: the address is none.
        UnavailableError: nobody answers there.
        RefusedError: something answers, and is no Prometheus or does not let us.
    """
    if urlsplit(prometheus_url).scheme not in ("http", "https"):
        raise UsageError(f"--url {prometheus_url!r:.80} is no http address: http://127.0.0.1:9090")
    url = f"{prometheus_url.rstrip('/')}/api/v1/alerts"
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            document = json.load(answer)
    except HTTPError as error:
        raise RefusedError(f"{url} answers {error.code} {error.reason}: is that Prometheus?") from error
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        problem = f"Prometheus does not answer at {prometheus_url} ({reason})"
        raise UnavailableError(f"{problem}: start it, or name its address with --url") from error
    except ValueError as error:
        raise RefusedError(f"{url} does not answer in JSON: is that Prometheus?") from error
    try:
        found = [_alert(entry) for entry in document["data"]["alerts"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{url} does not answer as Prometheus does ({error!r:.80})") from error
    taken = (alert for alert in found if wanted.takes(alert))
    return tuple(sorted(taken, key=_rank))


def _rank(alert: LiveAlert) -> tuple[int, int, str, str]:
    is_known = alert.severity in SEVERITIES
    severity = SEVERITIES.index(alert.severity) if is_known else len(SEVERITIES)
    return _STATES.index(alert.state), severity, alert.name, alert.active_since


def _alert(entry: Mapping[str, Any]) -> LiveAlert:
    labels, annotations = dict(entry["labels"]), dict(entry.get("annotations") or {})
    state = str(entry["state"])
    return LiveAlert(
        name=labels["alertname"],
        state=state if state in _STATES else "pending",
        severity=labels.get("severity", ""),
        component=labels.get("component", ""),
        active_since=str(entry.get("activeAt", "")),
        summary=annotations.get("summary", ""),
        labels=labels,
        annotations=annotations,
    )
