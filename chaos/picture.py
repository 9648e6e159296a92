"""Draws a timeline as one SVG that needs nothing else: throughput, latency and error lines, the faults shaded."""

from collections.abc import Mapping
from typing import Any

import altair as alt

_WIDTH = 760
_COLOURS = {"acknowledged": "#2166ac", "committed": "#1b7837"}
_FAULT_COLOUR = "#d6604d"
_SHOWN_CHARACTERS = 120


def picture(document: Mapping[str, Any]) -> str:
    """The SVG of a timeline (chaos.timeline)."""
    import vl_convert

    charts = [_throughput(document), _latency(document), *([_errors(document)] if document["errors"] else [])]
    chart = alt.vconcat(*charts, spacing=6).resolve_scale(color="independent")
    titled = chart.properties(title=alt.TitleParams(_title(document), anchor="start", fontSize=13))
    return str(vl_convert.vegalite_to_svg(titled.configure_view(stroke=None).to_json()))


def _title(document: Mapping[str, Any]) -> str:
    measures = document["measures"]
    recovery = measures["recovery_seconds"]
    parts = [f"{document['clause']}, seed {document['seed']}, {document['stack']}"]
    parts.append(f"{measures['acknowledged']} records acknowledged")
    if document["faults"]:
        parts.append("not recovered" if recovery is None else f"recovered in {recovery:.1f} s")
    return "; ".join(parts)


def _x(document: Mapping[str, Any]) -> alt.X:
    last = max([one["second"] + 1 for one in document["seconds"]] + [one["to"] for one in document["phases"]] + [1])
    return alt.X("second:Q", title=None, scale=alt.Scale(domain=[0, last], nice=False), axis=alt.Axis(grid=False))


def _shaded(document: Mapping[str, Any]) -> alt.Chart:
    rows = [{"second": one["from"], "to": one["to"], "fault": one["fault"]} for one in document["faults"]]
    drawn: alt.Chart = _chart(rows).mark_rect(color=_FAULT_COLOUR, opacity=0.18).encode(x=_x(document), x2="to:Q")
    return drawn


def _throughput(document: Mapping[str, Any]) -> alt.LayerChart:
    rows = [
        {"second": one["second"] + 0.5, "what": what, "records": one[what]}
        for one in document["seconds"]
        for what in _COLOURS
    ]
    lines = (
        _chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=_x(document),
            y=alt.Y("records:Q", title="records a second"),
            color=alt.Color(
                "what:N", title=None, scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
            ),
        )
    )
    names = [{"second": one["from"], "text": f"{one['fault']} on {one['target']}"} for one in document["faults"][:4]]
    named = (
        _chart(names)
        .mark_text(align="left", baseline="top", dx=3, fontSize=10, color=_FAULT_COLOUR)
        .encode(x=_x(document), y=alt.value(0), text="text:N")
    )
    drawn: alt.LayerChart = (_shaded(document) + lines + named).properties(width=_WIDTH, height=170)
    return drawn


def _latency(document: Mapping[str, Any]) -> alt.LayerChart:
    rows = [
        {"second": one["second"] + 0.5, "what": "acknowledgement", "ms": one["latency_ms"]}
        for one in document["seconds"]
        if one["latency_ms"] is not None
    ]
    rows += [{"second": one["second"], "what": one["caller"], "ms": one["latency_ms"]} for one in document["calls"]]
    points = (
        _chart(rows)
        .mark_point(filled=True, size=20)
        .encode(
            x=_x(document),
            y=alt.Y("ms:Q", title="latency, ms", scale=alt.Scale(type="symlog")),
            color=alt.Color("what:N", title=None),
        )
    )
    drawn: alt.LayerChart = (_shaded(document) + points).properties(width=_WIDTH, height=120)
    return drawn


def _errors(document: Mapping[str, Any]) -> alt.LayerChart:
    rows = [{**one, "text": one["text"][:_SHOWN_CHARACTERS]} for one in document["errors"]]
    ticks = (
        _chart(rows)
        .mark_tick(color=_FAULT_COLOUR, thickness=2)
        .encode(x=_x(document).title("seconds"), y=alt.Y("source:N", title="error lines"), tooltip="text:N")
    )
    drawn: alt.LayerChart = (_shaded(document) + ticks).properties(width=_WIDTH)
    return drawn


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))
