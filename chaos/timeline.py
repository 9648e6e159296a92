"""One clock for a run: throughput and latency by the second, phases, faults and error lines.

    {"clause": "chaos/kafka_down", "seed": 1, "began_wall_ns": ...,
     "seconds": [{"second": 0, "acknowledged": 301, "committed": 0, "latency_ms": 14.2}, ...],
     "phases": [{"phase": "impact", "fault": "down", "target": "kafka-1", "from": 9.1, "to": 12.4}, ...],
     "faults": [{"fault": "down", "target": "kafka-1", "from": 9.1, "to": 12.4, "acknowledged_at": 711}, ...],
     "calls": [{"caller": "query", "second": 9.8, "latency_ms": 12.0, "outcome": "503"}, ...],
     "errors": [{"second": 9.6, "source": "consumer-trades", "text": "..."}, ...],
     "measures": {...}, "verdict": {...}}

Made from the history alone, so a stored one gives the same again.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.checkers.chaos_measures import (
    SECOND_NS,
    Progress,
    acknowledged_progress,
    committed_progress,
    measure,
    windows,
)
from conformance.history import History

TIMELINES = "timelines"
_MOST_ERRORS = 200


def timeline(history: History) -> dict[str, Any]:
    """The timeline of a history; what was not observed is not in it."""
    acknowledged, committed = acknowledged_progress(history), committed_progress(history)
    began = history.header.started_wall_ns

    def seconds(wall_ns: int) -> float:
        return round((wall_ns - began) / SECOND_NS, 3)

    return {
        "clause": history.header.clause,
        "seed": history.header.seed,
        "stack": history.header.stack,
        "began_wall_ns": began,
        "seconds": list(_by_second(history, acknowledged, committed)),
        "phases": [
            {
                **{name: value for name, value in one.attributes.items() if name in ("phase", "fault", "target")},
                "from": seconds(one.wall_ns),
                "to": seconds(one.wall_ns + one.completed_monotonic_ns - one.invoked_monotonic_ns),
            }
            for one in history.of_action("phase")
        ],
        "faults": [
            {
                "fault": one["fault"],
                "target": one["target"],
                "from": seconds(one["injected_wall_ns"]),
                "to": seconds(one["healed_wall_ns"]),
                "counts": one["kept"].get("counts"),
            }
            for one in windows(history)
        ],
        "calls": [
            {
                "caller": one["caller"],
                "second": seconds(one["wall_ns"]),
                "latency_ms": round(one["seconds"] * 1e3, 1),
                "is_well": one["is_well"],
                "outcome": one["outcome"],
            }
            for one in history.rows("calls")
        ],
        "errors": [
            {"second": seconds(one["wall_ns"]), "source": one["source"], "text": one["text"]}
            for one in history.rows("error_lines")[:_MOST_ERRORS]
        ],
        "measures": measure(history).as_json(),
    }


def write_timeline(document: Mapping[str, Any], path: Path) -> None:
    """Keep it as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _by_second(history: History, acknowledged: Progress, committed: Progress) -> Iterable[dict[str, Any]]:
    began = history.header.started_wall_ns
    last = max((int(one.wall_ns[-1]) for one in (acknowledged, committed) if len(one.wall_ns)), default=began)
    latencies = [one.table.to_pydict() for one in history.of_stage("acknowledgements")]
    for second in range(int((last - began) // SECOND_NS) + 1):
        span = (began + second * SECOND_NS, began + (second + 1) * SECOND_NS)
        yield {
            "second": second,
            "acknowledged": acknowledged.between(*span),
            "committed": committed.between(*span),
            "latency_ms": _mean_latency_ms(latencies, *span),
        }


def _mean_latency_ms(tables: Iterable[Mapping[str, Any]], began: int, ended: int) -> float | None:
    """The mean over all records acknowledged in a time, from their being sent."""
    records, total = 0, 0.0
    for table in tables:
        at, count, seconds = (np.array(table[name]) for name in ("wall_ns", "records", "latency_seconds"))
        chosen = (at >= began) & (at < ended)
        records += int(count[chosen].sum())
        total += float((count[chosen] * seconds[chosen]).sum())
    return round(total / records * 1e3, 1) if records else None
