"""What became of every record that was fed: in the table, dead-lettered, a duplicate, or lost.

A record may be left out of the table for three reasons alone: it was dead-lettered; its identity is there already; or
its source number had been seen, see `source_numbers`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.journey import (
    DEAD_LETTERS,
    NONE,
    BoolArray,
    IntArray,
    Journey,
    Stage,
    among,
    counts,
    first_rows,
    flags,
)
from conformance.checkers.progress import (
    Progress,
    before,
    final_progress,
    is_drained,
    limits,
    load_snapshots,
)
from conformance.checkers.sequence_model import Ruling
from conformance.checkers.source_numbers import Arrivals, Repeats, find_repeats
from conformance.checkers.verdict import Finding, doubt
from conformance.history import History


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """The fate of every identity, one flag each, and what it was derived from.

    Attributes:
        acknowledged: the broker acknowledged it at least once.
        refused: every attempt to produce it failed.
        in_log: it is in the log; where the log was not followed, the same as acknowledged.
        in_table: it is in the table.
        dead: a message that carries it was dead-lettered.
        repeats: its source number makes it a duplicate of a record that arrived before.
        due: the table's progress has passed it, or the run was drained.
        arrival: the stage that tells the order of arrival: the log, or else what was fed.
        arrived: the rows of `arrival` that reached the log.
        progress: next offsets at the end; empty where no snapshot was followed.
        drained: whether the run waited for the table.
    """

    acknowledged: BoolArray
    refused: BoolArray
    in_log: BoolArray
    in_table: BoolArray
    dead: BoolArray
    repeats: Repeats
    due: BoolArray
    arrival: Stage
    arrived: BoolArray
    progress: Progress
    drained: bool

    @property
    def missing(self) -> BoolArray:
        """Reached the log, and nothing explains why it is not in the table."""
        return self.in_log & ~self.refused & ~self.in_table & ~self.dead & ~self.repeats.seen


def settle(history: History, journey: Journey) -> Account:
    """The account of a journey in which at least `fed` and `stored` were followed."""
    fed, stored = journey.stages["fed"], journey.stages["stored"]
    outcome = fed.column("outcome", pa.string())
    is_acknowledged = _is(outcome, "ok")
    arrival = journey.stages.get("logged", fed)
    arrived = np.ones(arrival.rows, dtype=np.bool_) if arrival is not fed else is_acknowledged

    progress = final_progress(load_snapshots(history))
    drained = is_drained(history)
    due_rows = arrived & (drained | before(arrival, limits(journey.partitions, progress)))

    fed_identity = flags(fed.identity, journey.identities)
    acknowledged = journey.has_identity(fed, is_acknowledged)
    in_table = journey.has_identity(stored)
    dead_rows = _dead_rows(journey, arrival)
    dead = journey.has_identity(arrival, dead_rows)
    in_log = journey.has_identity(arrival, arrived) & fed_identity
    arrivals = Arrivals(arrival, arrived, in_table, dead)
    repeats = find_repeats(journey, arrivals, Ruling.of(history.header.parameters))
    return Account(
        acknowledged=acknowledged,
        refused=fed_identity & ~journey.has_identity(fed, ~_is(outcome, "fail")),
        in_log=in_log,
        in_table=in_table,
        dead=dead,
        repeats=repeats,
        due=journey.has_identity(arrival, due_rows),
        arrival=arrival,
        arrived=arrived,
        progress=progress,
        drained=drained,
    )


def find_lost(journey: Journey, account: Account) -> Iterator[Finding]:
    """Acknowledged records that are not in the log, and messages of the log that the table has passed over."""
    fed = journey.stages["fed"]
    first = first_rows(fed.identity, journey.identities)
    vanished = first[account.acknowledged & ~account.in_log]
    if len(vanished):
        yield Finding("lost", "acknowledged, and not in the log", len(vanished), fed.examples(vanished))
    passed_over = first[account.missing & account.due]
    if len(passed_over):
        detail = "in the log, and neither in the table nor dead-lettered nor a duplicate"
        yield Finding("lost", detail, len(passed_over), fed.examples(passed_over))
    undecided = first[account.missing & ~account.due]
    if len(undecided) and not account.progress:
        detail = "not in the table, and nothing says whether the table had come that far"
        yield doubt("undecided", detail, len(undecided), fed.examples(undecided))
    yield from _lost_messages(journey, account)


def find_duplicated(journey: Journey, account: Account) -> Iterator[Finding]:
    """Identities, coordinates and source numbers that are in the table more than once."""
    stored = journey.stages["stored"]
    for numbers, total, what in (
        (stored.identity, journey.identities, "identity"),
        (stored.coordinates, journey.coordinates, "coordinates"),
    ):
        repeated = counts(numbers, total)
        surplus = int(np.maximum(repeated - 1, 0).sum())
        if surplus:
            rows = first_rows(numbers, total)[repeated > 1]
            yield Finding("duplicated", f"{what} in the table more than once", surplus, stored.examples(rows))
    kept = first_rows(stored.identity, journey.identities)[account.repeats.kept]
    if len(kept):
        detail = "source number in the table more than once within one numbering"
        yield Finding("duplicated", detail, len(kept), stored.examples(kept))


def find_beyond_progress(journey: Journey, account: Account) -> Iterator[Finding]:
    """Rows of the table that its own progress has not reached."""
    if not account.progress:
        return
    stored = journey.stages["stored"]
    rows = np.flatnonzero(~before(stored, limits(journey.partitions, account.progress)))
    if len(rows):
        detail = "in the table beyond its progress"
        yield Finding("aborted_but_visible", detail, len(rows), stored.examples(rows))


def find_progress_mismatch(journey: Journey, account: Account) -> Iterator[Finding]:
    """Next offsets other than the highest offset accounted for, plus one."""
    if not account.progress:
        return
    highest = _highest_accounted(journey, account)
    lowest_logged = _lowest_logged(journey)
    wrong = []
    for name in sorted({*account.progress, *journey.partitions}):
        stated = account.progress.get(name, 0)
        top = highest.get(name)
        if top is None:
            # Nothing before the progress: right at the log's start, wherever that is.
            start = lowest_logged.get(name, 0) if lowest_logged is not None else stated
            mismatch, expected = stated > start, start
        else:
            mismatch, expected = stated != top + 1, top + 1
        if mismatch:
            wrong.append(f"{name[0]}/{name[1]}: next offset {stated}, accounted for up to {expected}")
    if wrong:
        detail = "the progress is not the highest offset accounted for, plus one"
        yield Finding("progress_mismatch", detail, len(wrong), tuple(wrong))


def _is(outcome: pa.ChunkedArray, value: str) -> BoolArray:
    return np.asarray(pc.fill_null(pc.equal(outcome, value), False).to_numpy(), dtype=np.bool_)


def _dead_rows(journey: Journey, stage: Stage) -> BoolArray:
    dead_letters = journey.stages.get(DEAD_LETTERS)
    if dead_letters is None:
        return np.zeros(stage.rows, dtype=np.bool_)
    return among(stage.coordinates, journey.has_coordinates(dead_letters))


def _lost_messages(journey: Journey, account: Account) -> Iterator[Finding]:
    """Messages of the log that cannot be decoded have no identity; they must be dead letters."""
    dead_letters = journey.stages.get(DEAD_LETTERS)
    if dead_letters is None or account.arrival.name != "logged":
        return
    logged = account.arrival
    due = (
        np.full(logged.rows, True) if account.drained else before(logged, limits(journey.partitions, account.progress))
    )
    rows = np.flatnonzero((logged.identity == NONE) & due & ~_dead_rows(journey, logged))
    if len(rows):
        detail = "a message that cannot be decoded was not dead-lettered"
        yield Finding("lost", detail, len(rows), logged.examples(rows))


def _highest_accounted(journey: Journey, account: Account) -> dict[tuple[str, int], int]:
    """Highest offset of each partition that is in the table, or that the progress has passed with a reason.

    Dead letters are written before the commit, so those beyond the progress are early, not wrong.
    """
    next_offsets = limits(journey.partitions, account.progress)
    arrival = account.arrival
    explained = among(arrival.identity, account.in_table | account.repeats.seen | account.dead)
    if DEAD_LETTERS not in journey.stages:
        explained |= arrival.identity == NONE
    stages = [(journey.stages["stored"], np.full(journey.stages["stored"].rows, True))]
    stages.append((arrival, account.arrived & explained & before(arrival, next_offsets)))
    if DEAD_LETTERS in journey.stages:
        dead_letters = journey.stages[DEAD_LETTERS]
        stages.append((dead_letters, before(dead_letters, next_offsets)))
    highest = np.full(len(journey.partitions), NONE, dtype=np.int64)
    for stage, chosen in stages:
        rows = np.flatnonzero(chosen & (stage.partition != NONE))
        np.maximum.at(highest, stage.partition[rows], stage.offset[rows])
    return {name: int(top) for name, top in zip(journey.partitions, highest, strict=True) if top != NONE}


def _lowest_logged(journey: Journey) -> dict[tuple[str, int], int] | None:
    if "logged" not in journey.stages:
        return None
    logged = journey.stages["logged"]
    lowest: IntArray = np.full(len(journey.partitions), np.iinfo(np.int64).max)
    rows = np.flatnonzero(logged.partition != NONE)
    np.minimum.at(lowest, logged.partition[rows], logged.offset[rows])
    present = flags(logged.partition, len(journey.partitions))
    return {name: int(low) for name, low, is_in in zip(journey.partitions, lowest, present, strict=True) if is_in}
