"""The level of a process as it shows it: in /health, in metrics, in its log and in the header of answers."""

from collections.abc import Mapping

from conformance.drivers import http
from conformance.drivers.logged_changes import level_changes
from conformance.stacks.base import Stack

LEVELS = ("NOMINAL", "DEGRADED", "CRITICAL", "SHUTDOWN")
_HEADER = "x-degradation-level"


def exported_level(metrics_url: str, component: str) -> str:
    """The level that a process's metrics show."""
    value = http.metric(http.get(metrics_url).body, "k2_degradation_level", {"component": component})
    return LEVELS[int(value)]


def counted_changes(metrics_url: str, component: str) -> dict[str, float]:
    """How often each level was entered, by the counter."""
    exposition = http.get(metrics_url).body
    return {
        level: http.metric(exposition, "k2_degradation_transitions_total", {"component": component, "to": level})
        for level in LEVELS
    }


def shown_levels(stack: Stack, api: str) -> dict[str, str]:
    """The level of an API, everywhere it is shown."""
    health = http.get(f"{api}/health")
    changes = level_changes(stack, "api")
    return {
        "health": str(health.body["degradation_level"]),
        "header": header_level(health),
        "metrics": exported_level(f"{api}/metrics", "api"),
        "log": changes[-1].after if changes else "NOMINAL",
    }


def header_level(answer: http.Answer) -> str:
    """The level an answer names; none is NOMINAL."""
    return answer.headers.get(_HEADER, "NOMINAL")


def shed_counts(metrics_url: str, names: Mapping[str, str]) -> dict[str, float]:
    """k2_shed_total by what was shed.

    Args:
        metrics_url: of the process.
        names: label values every sample must have.
    """
    exposition = http.get(metrics_url).body
    counted: dict[str, float] = {}
    for line in exposition.splitlines():
        if line.startswith("k2_shed_total{") and all(f'{key}="{value}"' in line for key, value in names.items()):
            what = line.partition('what="')[2].partition('"')[0]
            counted[what] = counted.get(what, 0.0) + float(line.rsplit(" ", 1)[1])
    return counted
