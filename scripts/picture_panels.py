"""Draw the dashboards from what a Prometheus answered to their queries: one SVG for each, for the documents.

    python -m conformance.panel_data --record build/answers.json http://127.0.0.1:9090
    python scripts/picture_panels.py build/answers.json [FOLDER]      docs/pictures/dashboards if none is named

Panels stand where Grafana puts them, with its titles, units and thresholds. It is no picture of Grafana: lines, numbers
and colours are drawn here, the data are those of the same queries.

Exit status: 0, or 64 where the answers cannot be read.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

ROOT = Path(__file__).resolve().parent.parent
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
PICTURES = ROOT / "docs" / "pictures" / "dashboards"
USAGE_EXIT_CODE = 64
Panel = Mapping[str, Any]
Answers = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""What came back, by dashboard and panel: of each query its legend and its series."""

_WIDTH, _COLUMNS = 1_320, 24
_MARGIN, _HEIGHT = 70, 120
_LEGEND_WIDTH, _MOST_SERIES, _MOST_NUMBERS = 150, 9, 6
_PALETTE = ("#2563a8", "#d9741a", "#2e8b57", "#b03a5b", "#7655a6", "#8a6d3b", "#3a9cb5", "#777777", "#c9a227")
_COLORS = {"green": "#2e8b57", "orange": "#d9741a", "red": "#c0392b"}
_FORMATS = {"percentunit": ".1~%", "bytes": ".3~s", "short": ",.3~r"}
_SUFFIXES = {"s": " s", "bytes": "B", "mps": " /s", "reqps": " /s", "recps": " /s", "rowsps": " /s", "ops": " /s"}
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_GEOMETRY = re.compile(r'(?<= d=")[^"]*|(?<= transform=")[^"]*')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")


def read_answers(path: Path) -> Answers:
    """What `conformance.panel_data --record` kept.

    Raises:
        ValueError: it is something else.
        OSError: it cannot be read.
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    try:
        for answer in json.loads(path.read_text(encoding="utf-8")):
            found.setdefault((answer["dashboard"], answer["panel"]), []).append(answer)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it holds no answers ({error!r})") from error
    return found


def picture(dashboard: Mapping[str, Any], answers: Answers) -> str:
    """A dashboard as SVG."""
    samples = {
        panel["title"]: list(_samples(panel, answers.get((dashboard["uid"], panel["title"]), ())))
        for panel in dashboard["panels"]
    }
    times = sorted(sample["at"] for shown in samples.values() for sample in shown)
    rows = [
        _row([_chart(panel, samples[panel["title"]], times[:1] + times[-1:]) for panel in panels])
        for panels in _rows(dashboard["panels"])
    ]
    title = alt.TitleParams(dashboard["title"], subtitle=dashboard["description"], anchor="start", fontSize=18)
    whole = alt.vconcat(*rows, title=title, background="white", spacing=22).configure(
        font="sans-serif",
        axis=alt.AxisConfig(grid=True, gridColor="#e6e6e6", labelColor="#333", tickColor="#bbb", domainColor="#bbb"),
        legend=alt.LegendConfig(labelColor="#333", labelLimit=_LEGEND_WIDTH, symbolStrokeWidth=3),
        view=alt.ViewConfig(stroke="#dddddd"),
        title=alt.TitleConfig(fontSize=12, anchor="start", color="#222", subtitleColor="#555"),
    )
    svg: str = vl_convert.vegalite_to_svg(whole.to_dict())
    return _GEOMETRY.sub(_rounded, svg) + "\n"


def _rounded(geometry: re.Match[str]) -> str:
    return _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.1f}", geometry[0])


def _rows(panels: Iterable[Panel]) -> Iterator[list[Panel]]:
    shown = [panel for panel in panels if panel["type"] != "row"]
    for _, row in groupby(shown, key=lambda panel: panel["gridPos"]["y"]):
        yield list(row)


def _row(charts: Sequence[Any]) -> Any:
    return alt.hconcat(*charts, spacing=14).resolve_scale(color="independent", x="independent", y="independent")


def _chart(panel: Panel, samples: list[dict[str, Any]], window: Sequence[str]) -> Any:
    drawn = {"stat": _numbers, "gauge": _bars, "heatmap": _heatmap}
    kind = panel["type"]
    chart: Any = drawn[kind](panel, samples) if kind in drawn else _lines(panel, samples, window)
    return chart.properties(width=_width(panel), height=_HEIGHT, title=panel["title"])


def _width(panel: Panel) -> int:
    width: int = _WIDTH * panel["gridPos"]["w"] // _COLUMNS - _MARGIN
    return width


def _samples(panel: Panel, answers: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every number: when, of which series, how much."""
    for answer in answers:
        # The zero that stands for an empty answer has no labels; where others have some, it is not shown.
        labelled = [series for series in answer["result"] if series["metric"]]
        for series in labelled or answer["result"]:
            name = _named(answer["legend"], series["metric"])
            for at, text in series.get("values") or [series["value"]]:
                value = float(text)
                if math.isfinite(value):
                    when = datetime.fromtimestamp(float(at), UTC).replace(microsecond=0).isoformat()
                    yield {"at": when, "series": name or panel["title"], "value": float(f"{value:.5g}")}


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda match: labels.get(match[1], ""), legend).strip()


def _lines(panel: Panel, samples: list[dict[str, Any]], window: Sequence[str]) -> Any:
    names = list(dict.fromkeys(sample["series"] for sample in samples))[:_MOST_SERIES]
    highest = max((sample["value"] for sample in samples), default=0)
    columns = max(1, (_width(panel) + _MARGIN) // (_LEGEND_WIDTH + 40))
    legend = alt.Legend(orient="bottom", title=None, columns=columns, symbolType="stroke")
    begin_and_end = alt.Scale(type="utc", domain=[{"expr": f"toDate('{at}')"} for at in window])
    shown = [sample for sample in samples if sample["series"] in names]
    lines: Any = (
        alt.Chart(_data(shown))
        .mark_line(strokeWidth=1.5, interpolate="linear")
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M", tickCount=6), scale=begin_and_end),
            y=alt.Y("value:Q", title=None, axis=_axis(panel), scale=alt.Scale(domain=[0, 1.08 * highest or 1])),
            color=alt.Color("series:N", legend=legend, scale=alt.Scale(domain=names, range=list(_PALETTE))),
        )
    )
    limits = [step for step in _steps(panel)[1:] if 0 < step["value"] <= highest]
    if not limits:
        return lines
    values = [{"limit": step["value"], "color": _COLORS[step["color"]]} for step in limits]
    rule = alt.Chart(_data(values)).mark_rule(strokeDash=[5, 4])
    return lines + rule.encode(y="limit:Q", color=alt.Color("color:N", scale=None))


def _numbers(panel: Panel, samples: list[dict[str, Any]]) -> Any:
    shown = [{**sample, "place": place, "color": _color(panel, sample["value"]), "text": _text(panel, sample["value"])}
             for place, sample in enumerate(samples[:_MOST_NUMBERS])]  # fmt: skip
    size = min(22, _HEIGHT // (len(shown) + 2))
    base = alt.Chart(_data(shown)).encode(
        y=alt.Y("place:O", axis=None, scale=alt.Scale(paddingInner=0.1)),
    )
    number = base.mark_text(fontSize=size, fontWeight="bold", baseline="middle", align="right", dx=-4)
    name = base.mark_text(fontSize=11, baseline="middle", align="left", dx=4, color="#333")
    half = alt.value(_width(panel) * 0.52)
    return number.encode(x=half, text="text:N", color=alt.Color("color:N", scale=None)) + name.encode(
        x=half, text="series:N"
    )


def _bars(panel: Panel, samples: list[dict[str, Any]]) -> Any:
    shown = [{**sample, "color": _color(panel, sample["value"]), "text": _text(panel, sample["value"])}
             for sample in samples]  # fmt: skip
    most = max([sample["value"] for sample in samples] + [1.0]) * 1.3
    base = alt.Chart(_data(shown)).encode(
        x=alt.X("value:Q", title=None, axis=_axis(panel), scale=alt.Scale(domain=[0, most])),
        y=alt.Y("series:N", title=None),
    )
    return base.mark_bar().encode(color=alt.Color("color:N", scale=None)) + base.mark_text(
        align="left", dx=4, fontWeight="bold"
    ).encode(text="text:N")


def _heatmap(panel: Panel, samples: list[dict[str, Any]]) -> Any:
    cells = []
    for _, group in groupby(sorted(samples, key=lambda one: (one["at"], _bound(one))), key=lambda one: one["at"]):
        below = 0.0
        for one in group:
            # Prometheus's buckets count everything below their bound.
            cells.append({**one, "bound": _bound(one), "value": max(0.0, one["value"] - below)})
            below = one["value"]
    bounds = sorted({cell["bound"] for cell in cells if cell["value"]})
    shown = [{**cell, "bound": f"{cell['bound']:,.0f}"} for cell in cells if cell["bound"] in bounds]
    return (
        alt.Chart(_data(shown))
        .mark_rect()
        .encode(
            x=alt.X("utchoursminutes(at):O", title=None, axis=alt.Axis(format="%H:%M", labelAngle=0, grid=False)),
            y=alt.Y(
                "bound:O",
                title="at most",
                axis=alt.Axis(grid=False),
                sort=[f"{bound:,.0f}" for bound in reversed(bounds)],
            ),
            color=alt.Color("sum(value):Q", title="batches", scale=alt.Scale(scheme="blues")),
        )
    )


def _data(values: Sequence[Mapping[str, Any]]) -> Any:
    return alt.Data(values=list(values))  # type: ignore[no-untyped-call]


def _bound(sample: Mapping[str, Any]) -> float:
    return float(sample["series"].replace("+Inf", "inf"))


def _axis(panel: Panel) -> alt.Axis:
    unit = _unit(panel)
    suffix = _SUFFIXES.get(unit, "")
    form = _FORMATS.get(unit, ".3~g")
    return alt.Axis(tickCount=4, minExtent=46, labelExpr=f"format(datum.value, '{form}') + '{suffix}'")


def _text(panel: Panel, value: float) -> str:
    unit = _unit(panel)
    return f"{value:.1%}" if unit == "percentunit" else f"{float(f'{value:.3g}'):,g}{_SUFFIXES.get(unit, '')}"


def _color(panel: Panel, value: float) -> str:
    reached = [step["color"] for step in _steps(panel) if step["value"] is None or value >= step["value"]]
    return _COLORS[reached[-1]]


def _unit(panel: Panel) -> str:
    return str(panel["fieldConfig"]["defaults"]["unit"])


def _steps(panel: Panel) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return steps


def main(arguments: Sequence[str]) -> int:
    """Draw them."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python scripts/picture_panels.py ANSWERS [FOLDER]", file=sys.stderr)
        return USAGE_EXIT_CODE
    try:
        answers = read_answers(Path(arguments[0]))
    except (OSError, ValueError) as error:
        remedy = "keep some with python -m conformance.panel_data --record"
        print(f"picture_panels: {arguments[0]} cannot be read: {error}; {remedy}", file=sys.stderr)
        return USAGE_EXIT_CODE
    folder = Path(arguments[1]) if len(arguments) > 1 else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(DASHBOARDS.glob("*.json")):
        svg = picture(json.loads(path.read_text(encoding="utf-8")), answers)
        (folder / f"{path.stem}.svg").write_text(svg, encoding="utf-8")
        print(f"{folder / path.stem}.svg  {len(svg) / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
