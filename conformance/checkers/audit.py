"""The audit log tells every snapshot of the table, in order, and nothing that did not happen.

Verified:
- missing_entry: every snapshot has an entry that names it as the state after.
- phantom_entry: every successful entry names a snapshot that the table has; no failed entry names one as its result.
- repeated_entry: no snapshot has two entries, save one that was recovered after a crash.
- wrong_before: the state before, of an entry, is the snapshot's parent (none for the first), with its sequence number;
  that of a failed entry is a snapshot of the table, or none.
- wrong_count: every count that both sides have is the same.
- wrong_order: entries are in the order of their commits; recovered ones may come later.

Not verified:
- durations and times of entries; that an entry was synced before its commit was reported.
- counts that only one side has.
- snapshots that expired before they were observed.

Reads the stages
    audit      in the order of the log: snapshot_id_before, snapshot_id_after, status ("success", or anything else), and
               any of table, sequence_number_before, sequence_number_after, recovered and the counts
    snapshots  snapshot_id, parent_id, committed_wall_ns, and any of table, sequence_number and the counts
where the counts are added_records, added_data_files, added_files_size_bytes, total_records, total_data_files.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, unknown
from conformance.history import History, HistoryError

_COUNTS = ("added_records", "added_data_files", "added_files_size_bytes", "total_records", "total_data_files")
Row = Mapping[str, Any]


def check(history: History) -> Verdict:
    """The verdict on a history of transactions; samples are the snapshots."""
    missing = [stage for stage in ("audit", "snapshots") if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    try:
        return _judge(history.rows("audit"), history.rows("snapshots"))
    except KeyError as error:
        raise HistoryError(f"stage audit or snapshots lacks {error}") from error


def _judge(entries: Sequence[Row], snapshots: Sequence[Row]) -> Verdict:
    ordered = sorted(snapshots, key=lambda snapshot: int(snapshot["committed_wall_ns"]))
    known = {snapshot["snapshot_id"]: snapshot for snapshot in ordered}
    succeeded = [entry for entry in entries if entry["status"] == "success"]
    failed = [entry for entry in entries if entry["status"] != "success"]
    matched = [entry for entry in succeeded if entry["snapshot_id_after"] in known]
    findings = [
        *_found("missing_entry", "a snapshot has no entry", _missing(succeeded, known)),
        *_found("phantom_entry", "an entry tells of a snapshot that is not there", _phantom(succeeded, failed, known)),
        *_found("repeated_entry", "a snapshot has more than one entry", _repeated(matched)),
        *_found("wrong_before", "the state before is not the parent", _wrong_before(matched, failed, known)),
        *_found("wrong_count", "a count is not the snapshot's", _wrong_counts(matched, known)),
        *_found("wrong_order", "an entry comes before that of an earlier commit", _wrong_order(matched, ordered)),
    ]
    return conclude(
        len(snapshots), findings, f"{len(snapshots)} snapshots told by {len(succeeded)} entries, {len(failed)} failures"
    )


def _missing(succeeded: Sequence[Row], known: Mapping[int, Row]) -> list[str]:
    told = {entry["snapshot_id_after"] for entry in succeeded}
    return [str(snapshot_id) for snapshot_id in known if snapshot_id not in told]


def _phantom(succeeded: Sequence[Row], failed: Sequence[Row], known: Mapping[int, Row]) -> list[str]:
    invented = [f"success with {_after(entry)}" for entry in succeeded if entry["snapshot_id_after"] not in known]
    denied = [f"failure with {_after(entry)}" for entry in failed if entry["snapshot_id_after"] is not None]
    return invented + denied


def _repeated(matched: Sequence[Row]) -> list[str]:
    written = [entry["snapshot_id_after"] for entry in matched if not entry.get("recovered")]
    return [str(snapshot_id) for snapshot_id in dict.fromkeys(written) if written.count(snapshot_id) > 1]


def _wrong_before(matched: Sequence[Row], failed: Sequence[Row], known: Mapping[int, Row]) -> list[str]:
    wrong: list[str] = []
    held = {*known, *(snapshot["parent_id"] for snapshot in known.values())}
    for entry in matched:
        snapshot = known[entry["snapshot_id_after"]]
        parent = known.get(snapshot["parent_id"], {})
        if entry["snapshot_id_before"] != snapshot["parent_id"]:
            wrong.append(f"{_after(entry)}: before is {entry['snapshot_id_before']}, parent {snapshot['parent_id']}")
        elif _differs(entry.get("sequence_number_before"), parent.get("sequence_number")):
            wrong.append(f"{_after(entry)}: sequence number before is {entry['sequence_number_before']}")
        if _differs(entry.get("sequence_number_after"), snapshot.get("sequence_number")):
            wrong.append(f"{_after(entry)}: sequence number after is {entry['sequence_number_after']}")
    wrong.extend(
        f"failure: before is {entry['snapshot_id_before']}, which the table never had"
        for entry in failed
        if entry["snapshot_id_before"] is not None and entry["snapshot_id_before"] not in held
    )
    return wrong


def _wrong_counts(matched: Sequence[Row], known: Mapping[int, Row]) -> list[str]:
    return [
        f"{_after(entry)}: {name} is {entry[name]}, the snapshot says {snapshot[name]}"
        for entry in matched
        for snapshot in (known[entry["snapshot_id_after"]],)
        for name in _COUNTS
        if _differs(entry.get(name), snapshot.get(name))
    ]


def _wrong_order(matched: Sequence[Row], ordered: Sequence[Row]) -> list[str]:
    position = {snapshot["snapshot_id"]: number for number, snapshot in enumerate(ordered)}
    wrong: list[str] = []
    for table in dict.fromkeys(entry.get("table") for entry in matched):
        own = [entry for entry in matched if entry.get("table") == table and not entry.get("recovered")]
        wrong.extend(
            f"{_after(later)} after {_after(earlier)}"
            for earlier, later in pairwise(own)
            if position[later["snapshot_id_after"]] < position[earlier["snapshot_id_after"]]
        )
    return wrong


def _after(entry: Row) -> str:
    return f"snapshot {entry['snapshot_id_after']}"


def _differs(stated: object, expected: object) -> bool:
    return stated is not None and expected is not None and stated != expected


def _found(kind: str, detail: str, examples: Sequence[str]) -> Iterator[Finding]:
    if examples:
        yield Finding(kind, detail, len(examples), tuple(examples))
