"""Write deploy/grafana/dashboards/*.json and the tables of docs/dashboards.md from deploy/grafana/source/*.toml.

    python scripts/build_dashboards.py [--check] [ROOT]     --check: only say whether they are current

A source says what a dashboard shows: panels in order, each with title, description, unit, width (of 24) and queries;
`row` begins a row. `$target` in a query stands for the matchers of the variables job and instance, which every
dashboard has; `variables` names further ones. What is the same everywhere is written here.

Exit status: 0, or 1 where something is not current.
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("deploy") / "grafana"
PAGE = Path("docs") / "dashboards.md"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TARGET = 'job=~"$job",instance=~"$instance"'
VARIABLES: Mapping[str, tuple[str, str]] = {
    "job": ("Job", "label_values(up, job)"),
    "instance": ("Instance", 'label_values(up{job=~"$job"}, instance)'),
    "data_type": ("Data type", 'label_values(k2_messages_received_total{job=~"$job"}, data_type)'),
    "exchange": ("Exchange", 'label_values(k2_table_silence_seconds{job=~"$job"}, exchange)'),
    "query": ("Query", 'label_values(k2_query_seconds_count{job=~"$job"}, query)'),
    "endpoint": ("Endpoint", 'label_values(k2_http_requests_total{job=~"$job"}, endpoint)'),
}
"""Label a person reads, and the query for the values, of each template variable."""
_HEIGHT = 8
_COLUMNS = 24
_KINDS = ("timeseries", "stat", "gauge", "heatmap")
_INSTANT = ("stat", "gauge")
_SCHEMA_VERSION = 39
_BEGIN = "<!-- panels: written by python scripts/build_dashboards.py -->\n"
_END = "<!-- end of panels -->"


def dashboard(uid: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """The dashboard as Grafana loads it."""
    names = ("job", "instance", *source.get("variables", ()))
    return {
        "uid": uid,
        "title": source["title"],
        "description": source["description"],
        "tags": ["k2"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [{"type": "dashboards", "title": "K2", "tags": ["k2"], "asDropdown": True, "keepTime": True}],
        "templating": {"list": [_datasource_variable(), *(_variable(name) for name in names)]},
        "annotations": {"list": []},
        "panels": list(_panels(source["panel"])),
    }


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(name: str) -> dict[str, Any]:
    label, query = VARIABLES[name]
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        # With the time range: a process that came an hour ago must be offered.
        "refresh": 2,
        "sort": 1,
    }


def _panels(sources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    x = y = 0
    number = 0
    for source in sources:
        if "row" in source:
            y += _HEIGHT if x else 0
            x, number = 0, number + 1
            yield {
                "id": number,
                "type": "row",
                "title": source["row"],
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
                "panels": [],
            }
            y += 1
        if x + source["width"] > _COLUMNS:
            x, y = 0, y + _HEIGHT
        number += 1
        yield _panel(number, source, {"x": x, "y": y, "w": source["width"], "h": _HEIGHT})
        x += source["width"]
        if x == _COLUMNS:
            x, y = 0, y + _HEIGHT


def _panel(number: int, source: Mapping[str, Any], place: Mapping[str, int]) -> dict[str, Any]:
    kind = source.get("kind", "timeseries")
    if kind not in _KINDS:
        raise ValueError(f"panel {source['title']!r}: kind {kind!r} is none of {', '.join(_KINDS)}")
    return {
        "id": number,
        "type": kind,
        "title": source["title"],
        "description": source["description"],
        "datasource": DATASOURCE,
        "gridPos": dict(place),
        "targets": [_target(index, kind, query) for index, query in enumerate(source["queries"])],
        "fieldConfig": {"defaults": _defaults(kind, source), "overrides": []},
        "options": _options(kind),
    }


def _target(index: int, kind: str, query: Mapping[str, str]) -> dict[str, Any]:
    is_instant = kind in _INSTANT
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "expr": query["expr"].replace("$target", TARGET),
        "legendFormat": query["legend"],
        "instant": is_instant,
        "range": not is_instant,
        "format": "heatmap" if kind == "heatmap" else "time_series",
    }


def _defaults(kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
    steps = source.get("thresholds", [[0, "green"]])
    defaults: dict[str, Any] = {
        "unit": source["unit"],
        # The first colour holds for everything below the second step.
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": color, "value": None if index == 0 else value} for index, (value, color) in enumerate(steps)
            ],
        },
        "color": {"mode": "thresholds" if kind in _INSTANT else "palette-classic"},
        "min": 0,
    }
    if kind == "timeseries":
        shown = "dashed" if "thresholds" in source else "off"
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 5, "thresholdsStyle": {"mode": shown}}
    return {**defaults, **{name: source[name] for name in ("max", "decimals") if name in source}}


def _options(kind: str) -> dict[str, Any]:
    match kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "heatmap":
            return {"calculate": False, "yAxis": {"unit": "short"}, "legend": {"show": True}}
        case _:
            return {"reduceOptions": {"calcs": ["lastNotNull"]}}


def build(root: Path) -> dict[Path, str]:
    """Text of each dashboard file and of the page, from the sources beside them."""
    folder = root / FOLDER
    sources = {
        path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted((folder / "source").glob("*.toml"))
    }
    files = {
        folder / "dashboards" / f"{uid}.json": json.dumps(dashboard(uid, source), indent=2) + "\n"
        for uid, source in sources.items()
    }
    page = (root / PAGE).read_text(encoding="utf-8")
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not end:
        raise ValueError(f"{root / PAGE} has no section for the panels")
    tables = "".join(_table(uid, source) for uid, source in sources.items())
    return {**files, root / PAGE: f"{head}{begin}{tables}\n{end}{tail}"}


def _table(uid: str, source: Mapping[str, Any]) -> str:
    head = f"\n### {uid}\n\n{source['description']}\n\n| panel | unit | what it shows |\n|---|---|---|\n"
    return head + "".join(
        f"| {panel['title']} | {panel['unit']} | {panel['description']} |\n" for panel in source["panel"]
    )


def main(arguments: list[str]) -> int:
    """Write what is built, or check it."""
    root = Path(next((word for word in arguments if not word.startswith("-")), ROOT))
    built = build(root)
    forgotten = sorted(set((root / FOLDER / "dashboards").glob("*.json")) - set(built))
    stale = [path for path, text in built.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in (*stale, *forgotten):
            print(f"{path} is not current: run python scripts/build_dashboards.py", file=sys.stderr)
        return 1 if stale or forgotten else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(built[path], encoding="utf-8")
    for path in forgotten:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
