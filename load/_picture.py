"""Draws a stored load as one SVG: latency, load, pool and errors on one clock, and latency against load beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from conformance.checkers.load import EVERYBODY, SECOND_NS, Requests, percentile
from conformance.history import History

_WIDTH, _POINTS = 760, 3_000
_GAUGES = {
    "k2_connection_pool_active_connections": "connections in use",
    "k2_connection_pool_size": "connections",
    "k2_degradation_level": "level",
}


def picture(history: History) -> str:
    """The SVG of a history of the checker `load`."""
    import vl_convert

    rows = sorted(history.rows("requests"), key=lambda row: int(row["due_ns"]))
    began_ns = int(rows[0]["due_ns"]) if rows else history.header.started_wall_ns
    last = max(((int(row["done_ns"]) - began_ns) / SECOND_NS for row in rows), default=1.0)
    x = alt.X("second:Q", title=None, scale=alt.Scale(domain=[0, last], nice=False), axis=alt.Axis(grid=False))
    phases = _phases(rows, began_ns)
    parts = [
        _shaded(phases, x) + _latency(rows, began_ns, x),
        _shaded(phases, x) + _rates(rows, began_ns, x),
        _shaded(phases, x) + _gauges(history, began_ns, x),
        _shaded(phases, x) + _errors(rows, began_ns, x),
        _latency_against_load(history),
    ]
    drawn = alt.vconcat(*parts, spacing=8).resolve_scale(color="independent", shape="independent")
    title = f"{history.header.clause}, {history.header.stack}: {len(rows):,} requests"
    drawn = drawn.properties(title=alt.TitleParams(title, anchor="start", fontSize=13)).configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(drawn.to_json()))


def latency_against_load(history: History) -> list[dict[str, Any]]:
    """For each phase with a rate: answers a second, and the median and the 99th percentile in ms, queueing included."""
    requests = Requests.of(history)
    found = []
    for phase in history.header.parameters["phases"]:
        chosen = requests.of_phases([phase["name"]], EVERYBODY)
        if phase["requests_per_second"] and len(chosen):
            found.append(
                {
                    "phase": phase["name"],
                    "due_per_second": len(chosen) / phase["seconds"],
                    "p50": percentile(chosen.latency_ms, 0.5),
                    "p99": percentile(chosen.latency_ms, 0.99),
                }
            )
    return found


def _phases(rows: Sequence[Mapping[str, Any]], began_ns: int) -> list[dict[str, Any]]:
    spans: dict[str, list[int]] = {}
    for row in rows:
        spans.setdefault(row["phase"], []).append(int(row["due_ns"]))
    return [
        {
            "second": (min(times) - began_ns) / SECOND_NS,
            "to": (max(times) - began_ns) / SECOND_NS,
            "phase": name,
            "shade": number % 2,
        }
        for number, (name, times) in enumerate(spans.items())
    ]


def _shaded(phases: list[dict[str, Any]], x: alt.X) -> alt.LayerChart:
    # Without a scale of colours, which the layer would share with what is drawn over it.
    boxes = (
        _chart([phase for phase in phases if phase["shade"]])
        .mark_rect(opacity=0.09, color="#2166ac")
        .encode(x=x, x2="to:Q")
    )
    names = (
        _chart(phases)
        .mark_text(align="left", baseline="top", dx=3, fontSize=10, color="#555555")
        .encode(x=x, y=alt.value(0), text="phase:N")
    )
    drawn: alt.LayerChart = boxes + names
    return drawn


def _latency(rows: Sequence[Mapping[str, Any]], began_ns: int, x: alt.X) -> alt.Chart:
    shown = rows[:: max(1, len(rows) // _POINTS)]
    points = [
        {
            "second": (int(row["due_ns"]) - began_ns) / SECOND_NS,
            "ms": (int(row["done_ns"]) - int(row["due_ns"])) / 1e6,
            "user": row["user"],
        }
        for row in shown
    ]
    drawn: alt.Chart = (
        _chart(points)
        .mark_point(filled=True, size=14, opacity=0.6)
        .encode(
            x=x,
            y=alt.Y("ms:Q", title="latency from due, ms", scale=alt.Scale(type="log")),
            color=alt.Color("user:N", title=None),
        )
        .properties(width=_WIDTH, height=180)
    )
    return drawn


def _rates(rows: Sequence[Mapping[str, Any]], began_ns: int, x: alt.X) -> alt.Chart:
    points = []
    for what, name in (("due", "due_ns"), ("answered", "done_ns")):
        seconds = [int((int(row[name]) - began_ns) // SECOND_NS) for row in rows]
        counts = np.bincount(np.maximum(seconds, 0)).tolist() if seconds else []
        points += [{"second": n + 0.5, "requests": count, "what": what} for n, count in enumerate(counts)]
    drawn: alt.Chart = (
        _chart(points)
        .mark_line()
        .encode(x=x, y=alt.Y("requests:Q", title="a second"), color=alt.Color("what:N", title=None))
        .properties(width=_WIDTH, height=90)
    )
    return drawn


def _gauges(history: History, began_ns: int, x: alt.X) -> alt.Chart:
    points = [
        {"second": (int(row["wall_ns"]) - began_ns) / SECOND_NS, "value": row["value"], "what": _GAUGES[row["name"]]}
        for row in history.rows("gauges")
        if row["name"] in _GAUGES
    ]
    drawn: alt.Chart = (
        _chart([point for point in points if point["second"] >= 0])
        .mark_line(interpolate="step-after")
        .encode(x=x, y=alt.Y("value:Q", title="pool, level"), color=alt.Color("what:N", title=None))
        .properties(width=_WIDTH, height=80)
    )
    return drawn


def _errors(rows: Sequence[Mapping[str, Any]], began_ns: int, x: alt.X) -> alt.Chart:
    points = [
        {
            "second": (int(row["done_ns"]) - began_ns) / SECOND_NS,
            "status": f"{row['status']} {row['code']}" + ("" if row["is_expected"] else " (unexpected)"),
        }
        for row in rows
        if row["status"] != 200
    ]
    drawn: alt.Chart = (
        _chart(points[:_POINTS])
        .mark_tick(thickness=2, color="#d6604d")
        .encode(x=x, y=alt.Y("status:N", title="not 200"))
        .properties(width=_WIDTH)
    )
    return drawn


def _latency_against_load(history: History) -> alt.LayerChart:
    found = latency_against_load(history)
    points = [
        {"due_per_second": one["due_per_second"], "ms": one[name], "what": name, "phase": one["phase"]}
        for one in found
        for name in ("p50", "p99")
    ]
    base = _chart(points).encode(
        x=alt.X("due_per_second:Q", title="requests due a second", scale=alt.Scale(zero=False)),
        y=alt.Y("ms:Q", title="latency, ms", scale=alt.Scale(type="log")),
        color=alt.Color("what:N", title=None),
    )
    names = base.mark_text(dy=-9, fontSize=10).encode(text="phase:N")
    drawn: alt.LayerChart = (base.mark_line(point=True) + names).properties(width=_WIDTH, height=150)
    return drawn


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))
