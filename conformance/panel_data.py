"""Which panels of the dashboards bring data from a Prometheus.

    python -m conformance.panel_data [--record FILE] http://127.0.0.1:9090

Every query of every panel is sent as Grafana would send it with every variable at "All": an instant query for what
shows one value, the last 15 minutes for what shows a line. A query is empty if no sample comes back, NaN counting as
none; a panel is empty if one of its queries is. Where a query ends in `or vector(0)`, so that a day without errors
shows 0, it is also asked without that: what brings nothing then is named as a fallback, and is no failure.

--record keeps the answers as JSON, which scripts/picture_panels.py makes pictures of.

Exit status: 0, 1 if a panel is empty, 3 if Prometheus does not answer.
"""

import argparse
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from conformance.dashboard_lint import NOTHING_CHOSEN, Query, filled, queries, without_fallback
from conformance.drivers.panel_queries import load_dashboards

_TIMEOUT_SECONDS = 30.0
_LOOK_BACK_SECONDS = 900
_STEP_SECONDS = 15
_EXIT_EMPTY, _EXIT_HARNESS, _EXIT_USAGE = 1, 3, 64
Series = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query brought.

    Attributes:
        query: see there.
        result: series as Prometheus gives them.
        is_fallback: there is nothing but the zero that takes the place of an empty answer.
    """

    query: Query
    result: Sequence[Series]
    is_fallback: bool

    @property
    def series(self) -> int:
        """How many series have at least one number in them."""
        return _with_numbers(self.result)


def ask_panels(
    prometheus_url: str, dashboards: Iterable[Mapping[str, Any]], chosen: Mapping[str, str] = NOTHING_CHOSEN
) -> Iterator[Answer]:
    """The answer to every query of every panel.

    Args:
        prometheus_url: without a trailing slash.
        dashboards: as Grafana loads them.
        chosen: regular expressions by the name of the variable they are chosen in; the others are at "All".

    Raises:
        OSError: Prometheus does not answer, or refuses a query.
    """
    for dashboard in dashboards:
        for query in queries(dashboard):
            yield ask_query(prometheus_url, dashboard, query, chosen)


def ask_query(
    prometheus_url: str, dashboard: Mapping[str, Any], query: Query, chosen: Mapping[str, str] = NOTHING_CHOSEN
) -> Answer:
    """The answer to one query of a dashboard; arguments and errors as of `ask_panels`."""
    expression = filled(query.expression, dashboard, chosen)
    result = _ask(prometheus_url, expression, query.is_instant)
    bare = without_fallback(expression)
    is_fallback = bare != expression and not _with_numbers(_ask(prometheus_url, bare, query.is_instant))
    return Answer(query, result, is_fallback)


def _ask(prometheus_url: str, expression: str, is_instant: bool) -> list[Series]:
    now = time.time()
    asked: dict[str, str | float] = {"query": expression}
    if not is_instant:
        asked |= {"start": now - _LOOK_BACK_SECONDS, "end": now, "step": _STEP_SECONDS}
    path = "query" if is_instant else "query_range"
    url = f"{prometheus_url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        found: list[Series] = json.load(response)["data"]["result"]
    return found


def _with_numbers(result: Iterable[Series]) -> int:
    return sum(any(map(_is_number, _values(series))) for series in result)


def _values(series: Series) -> list[str]:
    pairs = series["values"] if "values" in series else [series["value"]]
    return [value for _, value in pairs]


def _is_number(text: str) -> bool:
    return not math.isnan(float(text))


def record(path: Path, answers: Iterable[Answer]) -> None:
    """Keep answers for scripts/picture_panels.py."""
    lines = [
        {"dashboard": one.query.dashboard, "panel": one.query.panel, "legend": one.query.legend, "result": one.result}
        for one in answers
    ]
    path.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_USAGE, f"{self.format_usage()}{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and name the panels that bring nothing."""
    parser = _Parser(prog="panel_data", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="address of Prometheus")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the answers")
    options = parser.parse_args(arguments)
    dashboards = load_dashboards(Path(__file__).resolve().parent.parent)
    try:
        answers = list(ask_panels(options.url.rstrip("/"), dashboards.values()))
    except (OSError, ValueError) as error:
        print(
            f"panel_data: {options.url} does not answer ({error}): start Prometheus, or name another", file=sys.stderr
        )
        return _EXIT_HARNESS
    if options.record is not None:
        record(options.record, answers)
    empty = [answer.query for answer in answers if not answer.series]
    fallbacks = [answer.query for answer in answers if answer.is_fallback]
    for what, named in (("nothing", empty), ("only its fallback", fallbacks)):
        for query in named:
            print(f"{query.dashboard}: {query.panel}: {what}: {query.expression}")
    panels = {(answer.query.dashboard, answer.query.panel) for answer in answers}
    print(f"{len(panels)} panels, {len(answers)} queries, {len(fallbacks)} fallbacks, {len(empty)} of them empty")
    return _EXIT_EMPTY if empty else 0


if __name__ == "__main__":
    sys.exit(main())
