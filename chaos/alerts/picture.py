"""Draws a matrix as one SVG that needs nothing else: faults shaded, and when each alert fired in Prometheus."""

from collections.abc import Mapping
from typing import Any

import altair as alt

_WIDTH = 760
_FAULT_COLOUR, _ALERT_COLOUR, _CONTROL_COLOUR = "#d6604d", "#2166ac", "#1b7837"


def picture(document: Mapping[str, Any]) -> str:
    """The SVG of a matrix (chaos.alerts.report)."""
    import vl_convert

    last = max([one["to"] for one in (*document["faults"], *document["fired"])] + [1.0])
    x = alt.X("from:Q", title="seconds", scale=alt.Scale(domain=[0, last], nice=False))
    faults = [{**one, "what": f"{one['fault']} on {one['target']}"} for one in document["faults"]]
    quiet = [
        {"from": began, "to": began + document["control"]["seconds"], "what": "control window"}
        for began in document["control"]["from"]
    ]
    lanes = [*(one["what"] for one in (*quiet, *faults)), *(one["alert"] for one in document["fired"])]
    y = alt.Y("what:N", title=None, sort=list(dict.fromkeys(lanes)))
    bars = [
        (quiet, _CONTROL_COLOUR),
        (faults, _FAULT_COLOUR),
        ([{**one, "what": one["alert"]} for one in document["fired"]], _ALERT_COLOUR),
    ]
    drawn = alt.layer(
        *(
            alt.Chart(alt.InlineData(values=rows)).mark_bar(color=colour, height=9).encode(x=x, x2="to:Q", y=y)
            for rows, colour in bars
            if rows
        )
    )
    shade = alt.Chart(alt.InlineData(values=faults)).mark_rect(color=_FAULT_COLOUR, opacity=0.08).encode(x=x, x2="to:Q")
    title = f"{document['clause']}: everything that lasts divided by {document['factor']}"
    chart = (shade + drawn).properties(width=_WIDTH, title=alt.TitleParams(title, anchor="start", fontSize=13))
    return str(vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_json()))
