"""What a run of faults and alerts came to: which fault made which alert heard, how soon, and how soon it was over.

Times are wall-clock nanoseconds of one machine. An alert is heard when the webhook is told of it, and over when the
webhook is told that of everything it was told of. Pure arithmetic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from conformance.history import History

SECOND_NS = 1_000_000_000
FIRING, RESOLVED = "firing", "resolved"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One alert and one fault that must fire it.

    Attributes:
        alert: its name.
        fault: what was done, and to what.
        is_injected: the cause was pretended, not brought about.
        detection_seconds: from the beginning of the fault until the webhook was told; None if it never was.
        fired_seconds: the same until Prometheus fired it; None if it never did.
        resolution_seconds: from when the fault began to be undone until the webhook was told that all of it is over;
            None if it was not.
    """

    alert: str
    fault: str
    is_injected: bool
    detection_seconds: float | None
    fired_seconds: float | None
    resolution_seconds: float | None

    def as_json(self) -> dict[str, Any]:
        """The exercise as reports have it."""
        return asdict(self)


def faults(history: History) -> list[Row]:
    """Attributes of the operations `fault`, the first one first."""
    return sorted((one.attributes for one in history.of_action("fault")), key=lambda one: int(one["injecting_wall_ns"]))


def name_of(fault: Row) -> str:
    """What was done, and to what, in words."""
    return f"{fault['fault']} on {fault['target']}"


def exercises(history: History) -> list[Exercise]:
    """Every alert with every fault that must fire it."""
    told, states = history.rows("notifications"), history.rows("alert_states")
    return [_exercise(alert, fault, told, states) for fault in faults(history) for alert in fault["fires"]]


def consequences(history: History) -> dict[str, list[str]]:
    """Alerts that were heard while a group of faults lasted and that none of these must fire, by group."""
    told = [row for row in history.rows("notifications") if row["status"] == FIRING]
    groups: dict[str, list[Row]] = {}
    for fault in faults(history):
        groups.setdefault(fault["group"], []).append(fault)
    found = {}
    for group, members in groups.items():
        began, ended = members[0]["injecting_wall_ns"], max(one["healed_wall_ns"] for one in members)
        heard = {row["alert"] for row in told if began <= row["wall_ns"] <= ended}
        found[group] = sorted(heard.difference(*(one["fires"] for one in members)))
    return found


def left_open(told: Iterable[Row]) -> dict[tuple[str, str], Row]:
    """Of each alert the webhook was told of and not of its end: name and fingerprint, and the last it was told."""
    last: dict[tuple[str, str], Row] = {}
    for row in told:
        last[row["alert"], row["fingerprint"]] = row
    return {key: row for key, row in last.items() if row["status"] == FIRING}


def controls(history: History) -> list[tuple[int, int]]:
    """Beginning and end of each time in which no alert may fire."""
    return [
        (one.wall_ns, one.wall_ns + one.completed_monotonic_ns - one.invoked_monotonic_ns)
        for one in history.of_action("control")
    ]


def _exercise(alert: str, fault: Row, told: Sequence[Row], states: Sequence[Row]) -> Exercise:
    began, healing = int(fault["injecting_wall_ns"]), int(fault["healing_wall_ns"])
    mine = [row for row in told if row["alert"] == alert and row["wall_ns"] >= began]
    heard = [row for row in mine if row["status"] == FIRING and row["wall_ns"] <= fault["healed_wall_ns"]]
    fired = [
        int(row["wall_ns"])
        for row in states
        if row["alert"] == alert and row["state"] == FIRING and began <= row["wall_ns"] <= fault["healed_wall_ns"]
    ]
    return Exercise(
        alert=alert,
        fault=name_of(fault),
        is_injected=bool(fault["is_injected"]),
        detection_seconds=_seconds(min((row["wall_ns"] for row in heard), default=None), began),
        fired_seconds=_seconds(min(fired, default=None), began),
        resolution_seconds=_seconds(_over_at({row["fingerprint"] for row in heard}, mine, healing), healing),
    )


def _over_at(fingerprints: set[str], mine: Sequence[Row], healing_ns: int) -> int | None:
    """When the webhook was told of the end of the last of these; None if it was not of one of them.

    Of one that comes and goes while the fault lasts, the first end after that counts, or the last one before.
    """
    ends = []
    for fingerprint in fingerprints:
        rows = [row for row in mine if row["fingerprint"] == fingerprint and row["status"] == RESOLVED]
        if not rows:
            return None
        ends.append(int(next((row for row in rows if row["wall_ns"] >= healing_ns), rows[-1])["wall_ns"]))
    return max(ends, default=None)


def _seconds(wall_ns: int | None, since_ns: int) -> float | None:
    return None if wall_ns is None else round(max(0, wall_ns - since_ns) / SECOND_NS, 2)
