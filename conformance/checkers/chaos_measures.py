"""What a run with faults was like for those who use it: recovery, availability, throughput. Pure arithmetic.

Times are wall-clock nanoseconds, all of one machine. Two things go on in every run: records are acknowledged to the
feed, and the table takes them in; the second is read off the snapshots, whose times the catalog kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.history import History

SECOND_NS = 1_000_000_000
IntArray = npt.NDArray[np.int64]
Window = Mapping[str, Any]
"""Attributes of the operation `fault`."""


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """So much of something was done at each of these times.

    Attributes:
        wall_ns: in their order.
        amount: records, each more than 0.
    """

    wall_ns: IntArray
    amount: IntArray

    def between(self, began_ns: int, ended_ns: int) -> int:
        """How much was done from one time to another."""
        return int(self.amount[(self.wall_ns >= began_ns) & (self.wall_ns < ended_ns)].sum())

    def rate(self, began_ns: int, ended_ns: int) -> float | None:
        """Records a second; None for no time at all."""
        seconds = (ended_ns - began_ns) / SECOND_NS
        return self.between(began_ns, ended_ns) / seconds if seconds > 0 else None

    def availability(self, began_ns: int, ended_ns: int) -> float | None:
        """The share of seconds, counted from the first, in which something was done; None for less than one."""
        slots = (ended_ns - began_ns) // SECOND_NS
        if slots < 1:
            return None
        inside = (self.wall_ns - began_ns) // SECOND_NS
        return len(np.unique(inside[(inside >= 0) & (inside < slots)])) / int(slots)

    def longest_pause(self, began_ns: int, ended_ns: int) -> int:
        """The longest time, ns, in which nothing was done between two times."""
        inside = self.wall_ns[(self.wall_ns >= began_ns) & (self.wall_ns < ended_ns)]
        return int(np.diff(np.concatenate([[began_ns], inside, [ended_ns]])).max())

    def first_from(self, wall_ns: int) -> int | None:
        """When something was next done."""
        later = self.wall_ns[self.wall_ns >= wall_ns]
        return int(later[0]) if len(later) else None


@dataclass(frozen=True, slots=True)
class Measures:
    """What people ask of a run.

    Attributes:
        acknowledged: records.
        recovery_seconds: the longest of all faults, from the end of its healing until records were acknowledged again
            and the table held all that had been; None if that never came, or without a fault.
        produce_availability, commit_availability: share of the seconds from the first fault to the last recovery in
            which records were acknowledged, and taken in; without a fault, of the time that was measured.
        produce_dip, commit_dip: by how much of the rate before the first fault it was lower while faults lasted, 0..1.
    """

    acknowledged: int
    recovery_seconds: float | None
    produce_availability: float | None
    commit_availability: float | None
    produce_dip: float | None
    commit_dip: float | None

    def as_json(self) -> dict[str, Any]:
        """For a line of verdicts.jsonl, to three digits."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def acknowledged_progress(history: History) -> Progress:
    """Records acknowledged, by tenths of a second."""
    tables = [one.table for one in history.of_stage("acknowledgements")]
    columns = [np.concatenate([table[name].to_numpy() for table in tables] or [[]]) for name in ("wall_ns", "records")]
    return Progress(*(column.astype(np.int64) for column in columns))


def committed_progress(history: History) -> Progress:
    """Records taken in, by snapshot; one that took in nothing is left out."""
    totals = table_totals(history)
    steps = [
        (wall_ns, total - before)
        for (wall_ns, total), before in zip(totals, [0, *(total for _, total in totals)], strict=False)
        if total > before
    ]
    return Progress(*(np.array(column, np.int64) for column in ([wall for wall, _ in steps], [n for _, n in steps])))


def activities(history: History) -> dict[str, Progress]:
    """Everything that can go on: produce, commit, and each caller by the ends of its good calls."""
    done = {"produce": acknowledged_progress(history), "commit": committed_progress(history)}
    calls = history.rows("calls")
    for caller in sorted({one["caller"] for one in calls}):
        ends = sorted(
            int(one["wall_ns"] + one["seconds"] * SECOND_NS)
            for one in calls
            if one["caller"] == caller and one["is_well"]
        )
        done[caller] = Progress(np.array(ends, np.int64), np.ones(len(ends), np.int64))
    return done


def table_totals(history: History) -> list[tuple[int, int]]:
    """For each snapshot when it came and how many messages the table had taken in by then, the oldest first."""
    rows = sorted(history.rows("snapshots"), key=lambda row: (row["sequence_number"], row["committed_wall_ns"]))
    return [(row["committed_wall_ns"], sum(each["next_offset"] for each in row["progress"])) for row in rows]


def windows(history: History) -> list[Window]:
    """The faults that came, the first one first."""
    found = [one.attributes for one in history.of_action("fault") if one.attributes.get("injected_wall_ns") is not None]
    return sorted(found, key=lambda fault: int(fault["injected_wall_ns"]))


def recovered_at(fault: Window, acknowledged: Progress, totals: Sequence[tuple[int, int]]) -> int | None:
    """When all was as before a fault, see Measures.recovery_seconds; None if it never was."""
    healed = fault["healed_wall_ns"]
    due = fault["acknowledged_before_healing"]
    produced = acknowledged.first_from(healed)
    committed = next((wall_ns for wall_ns, total in totals if wall_ns >= healed and total >= due), None)
    return None if produced is None or committed is None else max(produced, committed)


def measure(history: History) -> Measures:
    """The measures of a run; without a fault those of its time of measurement."""
    acknowledged, committed, totals = acknowledged_progress(history), committed_progress(history), table_totals(history)
    faults = windows(history)
    measured = measured_time(history)
    if not faults:
        began, ended = measured or (0, 0)
        shares = (acknowledged.availability(began, ended), committed.availability(began, ended))
        return Measures(int(acknowledged.amount.sum()), None, *shares, None, None)
    recovered = [recovered_at(fault, acknowledged, totals) for fault in faults]
    slowest = [(at - fault["healed_wall_ns"]) / SECOND_NS for at, fault in zip(recovered, faults, strict=True) if at]
    began = faults[0]["injected_wall_ns"]
    ended = max([fault["healed_wall_ns"] for fault in faults] + [at for at in recovered if at])
    return Measures(
        acknowledged=int(acknowledged.amount.sum()),
        recovery_seconds=max(slowest) if len(slowest) == len(faults) else None,
        produce_availability=acknowledged.availability(began, ended),
        commit_availability=committed.availability(began, ended),
        produce_dip=_dip(acknowledged, measured, faults),
        commit_dip=_dip(committed, measured, faults),
    )


def measured_time(history: History) -> tuple[int, int] | None:
    """From when to when nothing was wrong, and all was running."""
    for one in history.of_action("phase"):
        if one.attributes["phase"] == "measure":
            return one.wall_ns, one.wall_ns + one.completed_monotonic_ns - one.invoked_monotonic_ns
    return None


def _dip(progress: Progress, measured: tuple[int, int] | None, faults: Sequence[Window]) -> float | None:
    usual = progress.rate(*measured) if measured else None
    seconds = sum(fault["healing_wall_ns"] - fault["injected_wall_ns"] for fault in faults) / SECOND_NS
    if not usual or seconds <= 0:
        return None
    done = sum(progress.between(fault["injected_wall_ns"], fault["healing_wall_ns"]) for fault in faults)
    return float(min(1.0, max(0.0, 1.0 - done / seconds / usual)))
