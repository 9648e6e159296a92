"""Judges what requests were answered against the table as of the snapshot the answer says it is from.

A request is an operation `request` with outcome ok and the attributes
    request                        names it; rows of stage `answered` carry it in their column of that name
    data_type                      trades, quotes; may be left out where the run has one data type
    exchange, symbol               optional filters
    start_time_ns, end_time_ns     optional filters on event_time_ns, start inclusive, end exclusive
    limit                          optional
    snapshot_id                    the answer's snapshot, for an answer that may have no rows
    hybrid                         true: the answer merges the tail of the log, and may be ahead of its snapshot
Rows carry the answer's snapshot in `snapshot_id`. Stage `snapshots` says which rows a snapshot shows: those before its
progress, or, where its table keeps no progress, those added by it or one of its ancestors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.journey import (
    NONE,
    BoolArray,
    IntArray,
    Journey,
    Stage,
    counts,
    flags,
    integers,
)
from conformance.checkers.progress import Snapshot, before, limits, load_snapshots
from conformance.checkers.verdict import Finding, doubt
from conformance.history import History, Operation

_NS_PER_MS = 1_000_000
_WRONG_SNAPSHOT = "phantom", "answered from a snapshot that the table never had"
_STALE = "stale", "answered from a snapshot older than the newest committed before the request"
_ABORTED = "aborted_but_visible", "answered with rows beyond the progress of the answer's snapshot"
_MIXED = "incomplete_answer", "answered from more than one snapshot"
_REPEATED = "incomplete_answer", "the answer holds a row more than once"
_UNASKED = "incomplete_answer", "the answer holds rows that were not asked for"
_TOO_FEW = "incomplete_answer", "the answer lacks rows"
_TOO_MANY = "incomplete_answer", "the answer holds more rows than its limit"


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: str
    detail: str
    request: str
    rows: int


def find_in_answers(history: History, journey: Journey) -> Iterator[Finding]:
    """All findings on answers, one for each kind and detail; nothing where no answer was observed."""
    if "answered" not in journey.stages:
        return
    answers = _Answers(history, journey)
    faults: dict[tuple[str, str], list[_Fault]] = {}
    named = set()
    for operation in history.of_action("request"):
        if operation.outcome == "ok" and "request" in operation.attributes:
            named.add(str(operation.attributes["request"]))
            for fault in answers.judge(operation):
                faults.setdefault((fault.kind, fault.detail), []).append(fault)
    for (kind, detail), same in faults.items():
        yield Finding(kind, detail, len(same), tuple(f"request {fault.request}: {fault.rows} rows" for fault in same))
    if not named:
        yield doubt("nothing_answered", "no request was recorded as answered")
    nameless = sorted(answers.names - named)
    if nameless:
        yield doubt("request_unknown", "rows were answered to requests not recorded", len(nameless), tuple(nameless))


class _Answers:
    """The answered and stored rows, prepared so that each request is judged by masks."""

    def __init__(self, history: History, journey: Journey) -> None:
        self._journey = journey
        self._stored = journey.stages["stored"]
        self._answered = journey.stages["answered"]
        self._snapshots = load_snapshots(history)
        self._tolerance_ns = int(history.header.parameters.get("staleness_tolerance_ms", 0)) * _NS_PER_MS
        self._exchange, self._exchanges = _codes(self._stored, "exchange")
        self._symbol, self._symbols = _codes(self._stored, "symbol")
        self._event_time_ns = self._stored.integers("event_time_ns")
        self._added_by = self._stored.integers("snapshot_id")
        request, requests = _codes(self._answered, "request")
        order = np.argsort(request, kind="stable")
        ends = np.searchsorted(request[order], np.arange(len(requests) + 1))
        self._rows_of = {name: order[ends[code] : ends[code + 1]] for name, code in requests.items()}
        self._answered_from = self._answered.integers("snapshot_id")
        self._visible: dict[int, BoolArray] = {}

    @property
    def names(self) -> set[str]:
        """The requests that rows were answered to."""
        return set(self._rows_of)

    def judge(self, operation: Operation) -> Iterator[_Fault]:
        """The faults of one answer."""
        request = operation.attributes
        name = str(request["request"])
        rows = self._rows_of.get(name, np.empty(0, dtype=np.int64))
        if not self._snapshots:
            return
        stated = np.unique(self._answered_from[rows]).tolist() or [request.get("snapshot_id") or NONE]
        if len(stated) > 1:
            yield _Fault(*_MIXED, name, len(rows))
            return
        chain = [one for one in self._snapshots if one.data_type in ("", request.get("data_type", one.data_type))]
        snapshot = next((one for one in chain if one.snapshot_id == stated[0]), None)
        if snapshot is None and stated[0] != NONE:
            yield _Fault(*_WRONG_SNAPSHOT, name, len(rows))
            return
        if self._is_stale(snapshot, chain, operation):
            yield _Fault(*_STALE, name, len(rows))
        if snapshot is None and not len(rows):
            return
        visible = self._visible_in(snapshot, chain)
        yield from self._compare(name, request, rows, visible)

    def _is_stale(self, snapshot: Snapshot | None, chain: Sequence[Snapshot], operation: Operation) -> bool:
        due = [one for one in chain if one.committed_wall_ns <= operation.wall_ns - self._tolerance_ns]
        if not due:
            return False
        return snapshot is None or snapshot.committed_wall_ns < due[-1].committed_wall_ns

    def _compare(self, name: str, request: Mapping[str, Any], rows: IntArray, visible: BoolArray) -> Iterator[_Fault]:
        total = self._journey.identities
        answered = self._answered.identity[rows]
        matching = self._matching(request)
        expected = flags(self._stored.identity[matching & visible], total)
        given = counts(answered, total)
        repeated = int((given > 1).sum())
        if repeated:
            yield _Fault(*_REPEATED, name, repeated)
        extra = (given > 0) & ~expected
        in_table = self._journey.has_identity(self._stored)
        hybrid = is_hybrid(request)
        ahead = extra & flags(self._stored.identity[matching & ~visible], total)
        unasked = extra & ~ahead & in_table
        if ahead.any() and not hybrid:
            yield _Fault(*_ABORTED, name, int(ahead.sum()))
        if unasked.any():
            yield _Fault(*_UNASKED, name, int(unasked.sum()))
        limit = request.get("limit")
        wanted = int(expected.sum()) if limit is None else min(int(expected.sum()), int(limit))
        found = int(((given > 0) & expected).sum())
        if found < wanted and not (hybrid and limit is not None):
            yield _Fault(*_TOO_FEW, name, wanted - found)
        if limit is not None and len(rows) > int(limit):
            yield _Fault(*_TOO_MANY, name, len(rows) - int(limit))

    def _matching(self, request: Mapping[str, Any]) -> BoolArray:
        """The stored rows that the request's filters let through."""
        matching = np.ones(self._stored.rows, dtype=np.bool_)
        if "data_type" in request:
            for part in self._stored.parts:
                if part.data_type not in ("", request["data_type"]):
                    matching[part.start : part.start + part.table.num_rows] = False
        if request.get("exchange") is not None:
            matching &= self._exchange == self._exchanges.get(request["exchange"], NONE)
        if request.get("symbol") is not None:
            matching &= self._symbol == self._symbols.get(request["symbol"], NONE)
        if request.get("start_time_ns") is not None:
            matching &= self._event_time_ns >= request["start_time_ns"]
        if request.get("end_time_ns") is not None:
            matching &= self._event_time_ns < request["end_time_ns"]
        return matching

    def _visible_in(self, snapshot: Snapshot | None, chain: Sequence[Snapshot]) -> BoolArray:
        """The stored rows that a snapshot shows."""
        if snapshot is None:
            return np.zeros(self._stored.rows, dtype=np.bool_)
        if snapshot.snapshot_id not in self._visible:
            if snapshot.progress:
                visible = before(self._stored, limits(self._journey.partitions, snapshot.progress))
            else:
                visible = np.isin(self._added_by, _ancestors(snapshot, chain))
            self._visible[snapshot.snapshot_id] = visible
        return self._visible[snapshot.snapshot_id]


def is_hybrid(request: Mapping[str, Any]) -> bool:
    """Whether the request asked for the tail of the log as well."""
    return bool(request.get("hybrid", False))


def _ancestors(snapshot: Snapshot, chain: Sequence[Snapshot]) -> list[int]:
    """The ids of a snapshot and of all it was built on."""
    parents = {one.snapshot_id: one.parent_id for one in chain}
    line: list[int] = []
    current: int | None = snapshot.snapshot_id
    while current is not None and current not in line:
        line.append(current)
        current = parents.get(current)
    return line


def _codes(stage: Stage, name: str) -> tuple[IntArray, dict[str, int]]:
    """A text column as numbers, -1 for null, and the number of each value."""
    encoded = stage.column(name, pa.string()).combine_chunks().dictionary_encode()
    return integers(encoded.indices), {value: code for code, value in enumerate(encoded.dictionary.to_pylist())}
