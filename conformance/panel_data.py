"""Which panels of the dashboards bring data from a Prometheus.

    python -m conformance.panel_data http://127.0.0.1:9090

Every query of every panel is sent as Grafana would send it with every variable at "All": an instant query for what
shows one value, the last 15 minutes for what shows a line. A query is empty if no sample comes back, NaN counting as
none; a panel is empty if one of its queries is.

Exit status: 0, 1 if a panel is empty, 3 if Prometheus does not answer.
"""

import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.dashboard_lint import Query, filled, queries
from conformance.drivers.panel_queries import load_dashboards

_TIMEOUT_SECONDS = 30.0
_LOOK_BACK_SECONDS = 900
_STEP_SECONDS = 15
_EXIT_EMPTY, _EXIT_HARNESS, _EXIT_USAGE = 1, 3, 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query brought: series with at least one number in them."""

    query: Query
    series: int


def ask_panels(prometheus_url: str, dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[Answer]:
    """The answer to every query of every panel.

    Args:
        prometheus_url: without a trailing slash.
        dashboards: by uid.

    Raises:
        OSError: Prometheus does not answer, or refuses a query.
    """
    for dashboard in dashboards.values():
        for query in queries(dashboard):
            result = _ask(prometheus_url, filled(query.expression, dashboard), query.is_instant)
            yield Answer(query, sum(any(map(_is_number, _values(series))) for series in result))


def _ask(prometheus_url: str, expression: str, is_instant: bool) -> list[dict[str, Any]]:
    now = time.time()
    asked: dict[str, str | float] = {"query": expression}
    if not is_instant:
        asked |= {"start": now - _LOOK_BACK_SECONDS, "end": now, "step": _STEP_SECONDS}
    path = "query" if is_instant else "query_range"
    url = f"{prometheus_url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def _values(series: Mapping[str, Any]) -> list[str]:
    pairs = series["values"] if "values" in series else [series["value"]]
    return [value for _, value in pairs]


def _is_number(text: str) -> bool:
    return not math.isnan(float(text))


def main(arguments: list[str]) -> int:
    """Ask, and name the panels that bring nothing."""
    if len(arguments) != 1:
        print("usage: python -m conformance.panel_data http://HOST:PORT", file=sys.stderr)
        return _EXIT_USAGE
    dashboards = load_dashboards(Path(__file__).resolve().parent.parent)
    try:
        answers = list(ask_panels(arguments[0].rstrip("/"), dashboards))
    except (OSError, ValueError) as error:
        print(
            f"panel_data: {arguments[0]} does not answer ({error}): start Prometheus, or name another", file=sys.stderr
        )
        return _EXIT_HARNESS
    empty = [answer.query for answer in answers if not answer.series]
    for query in empty:
        print(f"{query.dashboard}: {query.panel}: nothing: {query.expression}")
    panels = {(answer.query.dashboard, answer.query.panel) for answer in answers}
    print(f"{len(panels)} panels, {len(answers)} queries, {len(empty)} of them empty")
    return _EXIT_EMPTY if empty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
