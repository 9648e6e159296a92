"""The audit log tells every snapshot of the table, in order, and nothing that did not happen.

Verified:
- missing_entry: every snapshot has an entry that names it as the state after.
- phantom_entry: every successful entry names a snapshot that the table has; no failed entry names one as its result.
- repeated_entry: no snapshot has two entries, save one that was recovered after a crash.
- wrong_before: the state before, of an entry, is the snapshot's parent (none for the first), with its sequence number;
  that of a failed entry is the snapshot that was current when it failed, or its parent, for the attempt may hold.
- incomplete_entry: an entry has every field of the transaction log; a recovered one need not have a duration.
- incomplete_failure: a failed entry says what was tried, on which table, and has error and error type.
- missing_failure: as many attempts are told to have failed as the plan says have.
- wrong_count: every count that both sides have is the same.
- wrong_order: entries are in the order of their commits; recovered ones may come later.

Not verified:
- that durations and times of entries are right; that an entry was synced before its commit was reported.
- counts that only one side has.
- snapshots that expired before they were observed.

Reads the stages
    audit      in the order of the log: the fields of the transaction log, status ("success", "rolled_back", which
               is passed over, or anything else), recovered, wall_ns
    snapshots  snapshot_id, parent_id, committed_wall_ns, and any of table, sequence_number and the counts
where the counts are added_records, added_data_files, added_files_size_bytes, total_records, total_data_files; and the
parameter expected_failures (a number, 0 if absent).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, unknown
from conformance.history import History, HistoryError

_COUNTS = ("added_records", "added_data_files", "added_files_size_bytes", "total_records", "total_data_files")
_STATED = ("table", "exchange", "asset_class", "record_count", "wall_ns")
_OF_ENTRY = (*_STATED, "sequence_number_after", *_COUNTS)
_OF_FAILURE = (*_STATED, "error", "error_type")
Row = Mapping[str, Any]


def check(history: History) -> Verdict:
    """The verdict on a history of transactions; samples are the snapshots."""
    missing = [stage for stage in ("audit", "snapshots") if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    try:
        expected_failures = int(history.header.parameters.get("expected_failures", 0))
        return _judge(history.rows("audit"), history.rows("snapshots"), expected_failures)
    except KeyError as error:
        raise HistoryError(f"stage audit or snapshots lacks {error}") from error


def _judge(entries: Sequence[Row], snapshots: Sequence[Row], expected_failures: int) -> Verdict:
    ordered = sorted(snapshots, key=lambda snapshot: int(snapshot["committed_wall_ns"]))
    known = {snapshot["snapshot_id"]: snapshot for snapshot in ordered}
    succeeded = [entry for entry in entries if entry["status"] == "success"]
    failed = [entry for entry in entries if entry["status"] not in ("success", "rolled_back")]
    matched = [entry for entry in succeeded if entry["snapshot_id_after"] in known]
    findings = [
        *_found("missing_entry", "a snapshot has no entry", _missing(succeeded, known)),
        *_found("phantom_entry", "an entry tells of a snapshot that is not there", _phantom(succeeded, failed, known)),
        *_found("repeated_entry", "a snapshot has more than one entry", _repeated(matched)),
        *_found("wrong_before", "the state before is not the parent", _wrong_before(matched, failed, known)),
        *_found("incomplete_entry", "an entry lacks a field", _incomplete(succeeded, _OF_ENTRY)),
        *_found("incomplete_failure", "a failure does not say what failed", _incomplete(failed, _OF_FAILURE)),
        *_found("missing_failure", "an attempt that failed is not told", [""] * (expected_failures - len(failed))),
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
    for entry in matched:
        snapshot = known[entry["snapshot_id_after"]]
        parent = known.get(snapshot["parent_id"], {})
        if entry["snapshot_id_before"] != snapshot["parent_id"]:
            wrong.append(f"{_after(entry)}: before is {entry['snapshot_id_before']}, parent {snapshot['parent_id']}")
        elif _differs(entry.get("sequence_number_before"), parent.get("sequence_number")):
            wrong.append(f"{_after(entry)}: sequence number before is {entry['sequence_number_before']}")
        if _differs(entry.get("sequence_number_after"), snapshot.get("sequence_number")):
            wrong.append(f"{_after(entry)}: sequence number after is {entry['sequence_number_after']}")
    for entry in failed:
        held = [
            snapshot
            for snapshot in known.values()
            if snapshot.get("table") == entry.get("table") and snapshot["committed_wall_ns"] <= entry["wall_ns"]
        ]
        allowed = {held[-1]["snapshot_id"], held[-1]["parent_id"]} if held else {None}
        if entry["snapshot_id_before"] not in allowed:
            wrong.append(f"failure: before is {entry['snapshot_id_before']}, which was not current")
    return wrong


def _incomplete(entries: Sequence[Row], required: Sequence[str]) -> list[str]:
    lacking: list[str] = []
    for entry in entries:
        names = [name for name in required if entry.get(name) in (None, "")]
        if entry.get("transaction_duration_ms") is None and not entry.get("recovered"):
            names.append("transaction_duration_ms")
        if names:
            lacking.append(f"{_after(entry)}: no {', '.join(names)}")
    return lacking


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
