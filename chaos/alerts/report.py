"""The fault -> alert matrix for people (Markdown) and machines (JSON), made from a history alone.

{"clause": "alerts/matrix", "factor": 30, "control": {"seconds": 90.0, "from": [40.2], "fired": []},
 "exercises": [{"alert": "KafkaBrokerDown", "fault": "kill on kafka-2", "is_injected": false,
                "detection_seconds": 8.1, "fired_seconds": 7.9, "resolution_seconds": 9.3}, ...],
 "consequences": {"object store ended": ["ConsumerLagHigh"]}, "never_exercised": [],
 "faults": [{"fault": ..., "target": ..., "group": ..., "from": 171.2, "to": 203.9}, ...],
 "fired": [{"alert": "KafkaBrokerDown", "from": 179.0, "to": 212.5}, ...]}
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.alerts.picture import picture
from conformance.checkers.alert_measures import (
    FIRING,
    SECOND_NS,
    consequences,
    controls,
    exercises,
    faults,
)
from conformance.history import History

FOLDER = "alerts"
MARKDOWN, DOCUMENT, PICTURE = "matrix.md", "matrix.json", "matrix.svg"
_APART_SECONDS = 3.0
"""Looks at a firing alert that lie further apart belong to two times."""


def matrix(history: History) -> dict[str, Any]:
    """The document of a history."""
    began = history.header.started_wall_ns
    found, states = exercises(history), history.rows("alert_states")
    firing = [row for row in states if row["state"] == FIRING]
    exercised = {one.alert for one in found}
    windows = controls(history)
    in_control = {row["alert"] for row in firing if any(start <= row["wall_ns"] < end for start, end in windows)}

    def seconds(wall_ns: int) -> float:
        return round((wall_ns - began) / SECOND_NS, 2)

    return {
        "clause": history.header.clause,
        "factor": history.header.parameters.get("factor"),
        "longest_window_seconds": history.header.parameters.get("longest_window_seconds"),
        "control": {
            "seconds": round(sum(end - start for start, end in windows) / SECOND_NS, 1),
            "from": [seconds(start) for start, _ in windows],
            "fired": sorted(in_control),
        },
        "exercises": [one.as_json() for one in found],
        "consequences": consequences(history),
        "never_exercised": sorted(set(history.header.parameters["named"]) - exercised),
        "faults": [
            {
                **{name: one[name] for name in ("fault", "target", "group", "is_injected", "kept")},
                "from": seconds(one["injecting_wall_ns"]),
                "to": seconds(one["healed_wall_ns"]),
            }
            for one in faults(history)
        ],
        "fired": [
            {"alert": alert, "from": seconds(start), "to": seconds(end)}
            for alert in sorted({row["alert"] for row in firing})
            for start, end in _spans([int(row["wall_ns"]) for row in firing if row["alert"] == alert])
        ],
    }


def markdown(document: Mapping[str, Any]) -> str:
    """The document for people."""
    factor, control = document["factor"], document["control"]
    heard = {
        one["alert"] for one in document["exercises"] if not one["is_injected"] and one["detection_seconds"] is not None
    }
    lines = [
        "# Faults and the alerts they fire",
        "",
        f"Everything that lasts is {factor} times shorter than in production: 5 minutes are {300 / factor:g} s. "
        "Detection is counted from the beginning of the fault until the webhook was told, resolution from when the "
        "fault began to be undone until the webhook was told that it is over; both in seconds of this run. K2's own "
        "times (5 s between two looks at a server, 30 s until a query is given up) are not shorter.",
        "",
        f"{len(heard)} alerts heard of a real fault; control window of {control['seconds']:.0f} s: "
        + (f"**{', '.join(control['fired'])} fired**" if control["fired"] else "silent")
        + ".",
        "",
        "| alert | fault | injected | detection, s | in Prometheus, s | resolution, s | silent in control |",
        "|---|---|---|---|---|---|---|",
        *(_row(one, control["fired"]) for one in sorted(document["exercises"], key=lambda one: str(one["alert"]))),
        *(f"| {alert} | never exercised | - | - | - | - | - |" for alert in document["never_exercised"]),
        "",
        "What was heard during each group of faults beside what it must fire:",
        "",
        *(f"- {group}: {', '.join(names) or 'nothing'}" for group, names in document["consequences"].items()),
        "",
    ]
    return "\n".join(lines)


def write_report(history: History, run_directory: Path) -> Path:
    """Keep both and a picture beside the histories of a run; returns where the one for people is."""
    folder, document = run_directory / FOLDER, matrix(history)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n")
    (folder / MARKDOWN).write_text(markdown(document))
    (folder / PICTURE).write_text(picture(document))
    return folder / MARKDOWN


def _row(one: Mapping[str, Any], in_control: Sequence[str]) -> str:
    cells = [
        one["alert"],
        one["fault"],
        "yes" if one["is_injected"] else "no",
        _shown(one["detection_seconds"], "not heard"),
        _shown(one["fired_seconds"], "not seen"),
        _shown(one["resolution_seconds"], "not resolved"),
        "no" if one["alert"] in in_control else "yes",
    ]
    return f"| {' | '.join(cells)} |"


def _shown(seconds: float | None, otherwise: str) -> str:
    return f"**{otherwise}**" if seconds is None else f"{seconds:.1f}"


def _spans(looks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Beginning and end of each time that was seen without a gap."""
    start = end = looks[0]
    for look in looks[1:]:
        if look - end > _APART_SECONDS * SECOND_NS:
            yield start, end
            start = look
        end = look
    yield start, end
