"""State checkpoints: each one that a snapshot names is what the log up to its offset makes of an empty state.

Verified:
- missing_checkpoint: each partition that a snapshot says was consumed has a checkpoint that is there and can be read.
- differs: each field of each key is what the records before the offset make it, however they came in batches, whatever
  restarts lay between.
- missing_key, extra_key: the keys known are those the log makes known, and each is there once.
- wrong_offset: a state that differs is not that of another offset of the log, and its offset is that of the snapshot.

Not verified:
- what was rejected: a message with a dead letter, and one that is no record, leave no trace in a state (see
  `dead_letters` for whether they were rejected rightly).
- a checkpoint at an offset whose log was not seen from its beginning: that is unknown.
- that the consumer uses the checkpoint (see `delivery` and `provenance` after restarts).

Reads the stages
    snapshots    snapshot_id, progress (topic, partition, next_offset)
    checkpoints  snapshot_id, topic, kafka_partition, next_offset; one row for the file, with tracker null and `problem`
                 null or saying why there is nothing to read, and one for each of its keys, with tracker, key and the
                 columns of the checkpoint (ranges as lists of first and last)
    logged       topic, kafka_partition, kafka_offset, session, exchange, symbol, session_sequence, source_sequence,
                 decode_error (null for a record)
    fed          the same without decode_error, with outcome: taken where the log was not followed
    dead_letters topic, kafka_partition, kafka_offset (of the source)
and the parameters `sequence` (settings other than the defaults) and `must_occur`: fields of the last state that have to
be above 0 in some key (gaps, session_resets, lost_in_evicted_ranges, ...), or `forgotten_keys`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from conformance.checkers.checkpoint_model import Fields, Key, Limits, PartitionModel
from conformance.checkers.progress import load_snapshots
from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

Place = tuple[str, int]
Row = tuple[str, Key]
"""Tracker and key."""
_SEVERAL = "the same key more than once"


@dataclass(slots=True)
class Log:
    """What lies in one partition: the sound records by offset, and every offset that was seen."""

    records: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    offsets: set[int] = field(default_factory=set)

    def seen_until(self) -> int:
        """The first offset that was not seen."""
        return next(offset for offset in count() if offset not in self.offsets)

    def before(self, offset: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The sound records before an offset, in order."""
        return ((one, self.records[one]) for one in sorted(self.records) if one < offset)


@dataclass(slots=True)
class Checkpoint:
    """One file that a snapshot names."""

    snapshot_id: int
    place: Place
    next_offset: int
    problem: str | None = None
    rows: dict[Row, Fields] = field(default_factory=dict)
    repeated: list[Row] = field(default_factory=list)

    def __str__(self) -> str:
        return f"snapshot {self.snapshot_id}, {self.place[0]}/{self.place[1]} at {self.next_offset}"


def check(history: History) -> Verdict:
    """The verdict on a history's checkpoints; samples are the keys that were compared."""
    for needed in (("snapshots",), ("checkpoints",), ("logged", "fed")):
        if not any(history.of_stage(stage) for stage in needed):
            return unknown("missing_stage", f"stages were not followed: {' or '.join(needed)}")
    limits, logs, checkpoints = Limits.of(history.header.parameters), _logs(history), _checkpoints(history)
    wrong: dict[str, list[str]] = {}
    samples, undecided = 0, []
    latest: dict[Place, dict[Row, Fields]] = {}
    for place in sorted({checkpoint.place for checkpoint in checkpoints}):
        readable = [one for one in checkpoints if one.place == place and one.problem is None]
        log = logs.get(place, Log())
        seen_until = log.seen_until()
        expected = _states(log, limits, {one.next_offset for one in readable})
        for checkpoint in readable:
            if checkpoint.next_offset > seen_until:
                undecided.append(str(checkpoint))
                continue
            state = latest[place] = expected[checkpoint.next_offset]
            samples += len({*state, *checkpoint.rows})
            for kind, example in _differences(checkpoint, state, log, limits):
                wrong.setdefault(kind, []).append(f"{checkpoint}: {example}")
    for kind, example in _missing(history, checkpoints):
        wrong.setdefault(kind, []).append(example)
    findings = [Finding(kind, _DETAILS[kind], len(examples), tuple(examples)) for kind, examples in wrong.items()]
    if undecided:
        findings.append(doubt("log_incomplete", "the log before them was not seen", len(undecided), tuple(undecided)))
    findings += _did_not_occur(history, latest.values())
    if not samples and not findings:
        return unknown("nothing_to_compare", "no checkpoint holds a key, and none should")
    return conclude(samples, findings, f"{samples} keys of {len(checkpoints)} checkpoints are what the log makes them")


_DETAILS = {
    "missing_checkpoint": "a snapshot names a state checkpoint that is not there, cannot be read, or none",
    "wrong_offset": "a checkpoint holds the state of another offset than the snapshot's",
    "differs": "a checkpoint's value is not what the log makes it",
    "missing_key": "a checkpoint lacks a key that the log makes known",
    "extra_key": "a checkpoint has a key that the log does not make known, or has it twice",
}


def _logs(history: History) -> dict[Place, Log]:
    stage = "logged" if history.of_stage("logged") else "fed"
    logs: dict[Place, Log] = {}
    rejected = set()
    for row in history.rows("dead_letters"):
        rejected.add((row["topic"], row["kafka_partition"], row["kafka_offset"]))
        logs.setdefault((row["topic"], row["kafka_partition"]), Log()).offsets.add(row["kafka_offset"])
    for row in history.rows(stage):
        if row["kafka_offset"] is None:
            continue
        place = (row["topic"], row["kafka_partition"])
        log = logs.setdefault(place, Log())
        log.offsets.add(row["kafka_offset"])
        if row.get("decode_error") is None and (*place, row["kafka_offset"]) not in rejected:
            log.records[row["kafka_offset"]] = row
    return logs


def _checkpoints(history: History) -> list[Checkpoint]:
    found: dict[tuple[int, Place], Checkpoint] = {}
    for row in history.rows("checkpoints"):
        place = (row["topic"], row["kafka_partition"])
        checkpoint = found.setdefault((row["snapshot_id"], place), Checkpoint(row["snapshot_id"], place, 0))
        if row["tracker"] is None:
            checkpoint.next_offset, checkpoint.problem = row["next_offset"], row["problem"]
            continue
        name = (row["tracker"], tuple(row["key"]))
        if name in checkpoint.rows:
            checkpoint.repeated.append(name)
        checkpoint.rows[name] = row
    return list(found.values())


def _states(log: Log, limits: Limits, offsets: Iterable[int]) -> dict[int, dict[Row, Fields]]:
    """The rows that the log makes of an empty state, as of each of these offsets."""
    states: dict[int, dict[Row, Fields]] = {}
    model, wanted = PartitionModel(limits), sorted(offsets)
    for offset, record in log.before(max(wanted, default=0)):
        while wanted and wanted[0] <= offset:
            states[wanted.pop(0)] = model.rows()
        model.take(record)
    return states | {offset: model.rows() for offset in wanted}


def _differences(
    checkpoint: Checkpoint, expected: Mapping[Row, Fields], log: Log, limits: Limits
) -> Iterator[tuple[str, str]]:
    """Kind and example of each difference; one that another offset explains is that one alone."""
    differences = list(_compare(checkpoint, expected))
    offset = _offset_of(checkpoint, log, limits) if differences else None
    if offset is not None:
        yield "wrong_offset", f"its state is that of offset {offset}"
    else:
        yield from differences


def _compare(checkpoint: Checkpoint, expected: Mapping[Row, Fields]) -> Iterator[tuple[str, str]]:
    for row in expected:
        if row not in checkpoint.rows:
            yield "missing_key", f"{_name(row)} is not in it"
    for row, found in checkpoint.rows.items():
        if row not in expected:
            yield "extra_key", f"{_name(row)} is in it"
            continue
        for name, value in expected[row].items():
            seen = _plain(found[name])
            if seen != value:
                yield "differs", f"{_name(row)} {name} is {seen}, the log makes it {value}"
    for row in checkpoint.repeated:
        yield "extra_key", f"{_name(row)} is in it {_SEVERAL}"


def _offset_of(checkpoint: Checkpoint, log: Log, limits: Limits) -> int | None:
    """Another offset of the log whose state this is; only where as many numbers were judged can it be."""
    judged = {"source": 0, "session": 0}
    for (tracker, _), found in checkpoint.rows.items():
        judged[tracker] = max(judged.get(tracker, 0), found["last_position"] or 0)
    model = PartitionModel(limits)
    last = max(log.offsets, default=-1) + 1
    for offset, record in [*log.before(last), (last, None)]:
        same_length = all(one.judged == judged[name] for name, one in model.trackers.items())
        if offset != checkpoint.next_offset and same_length and not list(_compare(checkpoint, model.rows())):
            return offset
        if record is not None:
            model.take(record)
    return None


def _missing(history: History, checkpoints: Iterable[Checkpoint]) -> Iterator[tuple[str, str]]:
    found = {(one.snapshot_id, one.place): one for one in checkpoints}
    for snapshot in load_snapshots(history):
        for place, next_offset in snapshot.progress.items():
            named = f"snapshot {snapshot.snapshot_id}, {place[0]}/{place[1]} at {next_offset}"
            checkpoint = found.get((snapshot.snapshot_id, place))
            if checkpoint is None:
                yield "missing_checkpoint", f"{named}: names none"
            elif checkpoint.problem is not None:
                yield "missing_checkpoint", f"{named}: {checkpoint.problem}"
            elif checkpoint.next_offset != next_offset:
                yield "wrong_offset", f"{named}: its checkpoint is of {checkpoint.next_offset}"


def _did_not_occur(history: History, states: Iterable[Mapping[Row, Fields]]) -> Iterator[Finding]:
    """What the run was to exercise and did not."""
    seen: Counter[str] = Counter()
    for rows in states:
        for name in {tracker for tracker, _ in rows}:
            of_tracker = [fields for (tracker, _), fields in rows.items() if tracker == name]
            seen["forgotten_keys"] += max(fields["arrival_number"] for fields in of_tracker) - len(of_tracker)
            for fields in of_tracker:
                seen.update({name: value for name, value in fields.items() if isinstance(value, int) and value > 0})
    for name in history.header.parameters.get("must_occur", ()):
        if not seen[name]:
            yield doubt("did_not_occur", f"{name} was to occur in the log and did not")


def _plain(value: object) -> object:
    """Ranges come from Arrow as dictionaries."""
    if isinstance(value, list):
        return [(one["first"], one["last"]) for one in value]
    return value


def _name(row: Row) -> str:
    return f"{row[0]} {':'.join(row[1])}"
