"""Asks a Prometheus what it knows: series, what its targets declare, alerts, rules."""

import json
import urllib.parse
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 30.0
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def series_names(url: str, *matches: str) -> set[str]:
    """Names of the series that any of these selectors takes.

    Raises:
        OSError: it does not answer, or refuses.
    """
    return set(_ask(url, "label/__name__/values", [("match[]", match) for match in matches]))


def declared_names(url: str, targets: str) -> set[str]:
    """Names under which targets export samples by what they declare: a counter that never counted is among them.

    Args:
        url: of Prometheus.
        targets: selector of the targets' labels.

    Raises:
        OSError: it does not answer, or refuses.
    """
    declared = _ask(url, "targets/metadata", [("match_target", targets)])
    return {f"{one['metric']}{part}" for one in declared for part in _PARTS.get(one["type"], ("",))}


def instances_up(url: str, targets: str) -> set[str]:
    """Instances that Prometheus could read the last time.

    Args:
        url: of Prometheus.
        targets: selector of the targets' labels.

    Raises:
        OSError: it does not answer, or refuses.
    """
    answered = _ask(url, "query", [("query", f"up{targets} == 1")])
    return {series["metric"]["instance"] for series in answered["result"]}


def alert_names(url: str, state: str) -> set[str]:
    """Names of the alerts in a state, "pending" or "firing".

    Raises:
        OSError: it does not answer.
    """
    return {one["labels"]["alertname"] for one in _ask(url, "alerts")["alerts"] if one["state"] == state}


def active_alerts(url: str) -> list[tuple[str, str]]:
    """Name and state, "pending" or "firing", of every alert that is not at rest; of one name there may be several.

    Raises:
        OSError: it does not answer.
    """
    return [(one["labels"]["alertname"], one["state"]) for one in _ask(url, "alerts")["alerts"]]


def evaluation_seconds(url: str) -> dict[str, float]:
    """How often each group of rules that is loaded is evaluated.

    Raises:
        OSError: it does not answer.
    """
    return {group["name"]: float(group["interval"]) for group in _ask(url, "rules")["groups"]}


def flags(url: str) -> dict[str, str]:
    """What it was started with.

    Raises:
        OSError: it does not answer.
    """
    return {str(name): str(value) for name, value in _ask(url, "status/flags").items()}


def told_alerts(alertmanager_url: str) -> set[str]:
    """Names of the alerts that Alertmanager was told of and that are not over.

    Raises:
        OSError: it does not answer.
    """
    with urllib.request.urlopen(f"{alertmanager_url}/api/v2/alerts?active=true", timeout=_TIMEOUT_SECONDS) as answer:
        return {one["labels"]["alertname"] for one in json.load(answer)}


def _ask(url: str, path: str, parameters: list[tuple[str, str]] | None = None) -> Any:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(f"{url}/api/v1/{path}{query}", timeout=_TIMEOUT_SECONDS) as answer:
        return json.load(answer)["data"]
