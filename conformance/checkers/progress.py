"""How far a table is: its snapshots, each with the next offset of every partition it has consumed.

Stage `snapshots`: snapshot_id, parent_id, committed_wall_ns, progress (list of struct{topic, partition, next_offset}),
in a file for each data type, or with a column `data_type`, or without either where the run has one table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.checkers.journey import NONE, BoolArray, IntArray, Stage
from conformance.history import History, HistoryError

SNAPSHOTS = "snapshots"
DRAIN = "drain"
Progress = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One committed snapshot of a table; `progress` maps (topic, partition) to the next offset."""

    data_type: str
    snapshot_id: int
    parent_id: int | None
    committed_wall_ns: int
    progress: Progress


def load_snapshots(history: History) -> tuple[Snapshot, ...]:
    """All snapshots, oldest first. HistoryError if a row lacks a column."""
    try:
        snapshots = [
            Snapshot(
                data_type=row.get("data_type") or "",
                snapshot_id=row["snapshot_id"],
                parent_id=row["parent_id"],
                committed_wall_ns=row["committed_wall_ns"],
                progress={
                    (entry["topic"], entry["partition"]): entry["next_offset"] for entry in row["progress"] or ()
                },
            )
            for row in history.rows(SNAPSHOTS)
        ]
    except KeyError as error:
        raise HistoryError(f"stage {SNAPSHOTS!r} lacks {error}") from error
    return tuple(sorted(snapshots, key=lambda snapshot: snapshot.committed_wall_ns))


def final_progress(snapshots: Iterable[Snapshot]) -> dict[tuple[str, int], int]:
    """The next offsets of the newest snapshot of each data type."""
    newest = {snapshot.data_type: snapshot for snapshot in snapshots}
    return {key: offset for snapshot in newest.values() for key, offset in snapshot.progress.items()}


def is_drained(history: History) -> bool:
    """Whether the run waited until the table had all that was acknowledged: an operation `drain` that went well."""
    return any(operation.outcome == "ok" for operation in history.of_action(DRAIN))


def limits(partitions: Sequence[tuple[str, int]], progress: Progress) -> IntArray:
    """The next offset of each numbered partition; 0 where the progress does not name it."""
    return np.array([progress.get(partition, 0) for partition in partitions], dtype=np.int64)


def before(stage: Stage, next_offsets: IntArray) -> BoolArray:
    """For each row, whether its offset lies before the next offset of its partition."""
    if not len(next_offsets):
        return np.zeros(stage.rows, dtype=np.bool_)
    reached: BoolArray = (stage.partition != NONE) & (stage.offset < next_offsets[stage.partition])
    return reached
