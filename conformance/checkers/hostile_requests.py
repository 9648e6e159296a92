"""Hostile text in every place that takes a value: nothing breaks, nothing is given away, nothing changes.

Verified:
- server_error: every request was answered, and with a status below 500.
- extra_rows: no answer held a row: what was asked for exists in no table.
- no_envelope: every answer of 400 and above names its error's code.
- tables_changed: each table has the snapshot, the number of rows and the content it had before.
- that every planned place was tried often enough, that the engine was asked often enough, so that text came as far as
  its SQL, and that the tables held something to give away; otherwise the verdict is unknown.

Not verified:
- what the text did to logs (see the clauses on logs) and metrics' labels.
- answers that list no rows, such as snapshots and metrics, other than by their status.

Reads the operations
    request  place, text (its beginning), status (null: none), rows, error_code
    engine   queries (that the engine answered meanwhile)
    table    moment (before | after), table, snapshot_id, rows, content (a hash)
and the parameters places (names), minimum_requests (of each place), minimum_queries (of the engine).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt
from conformance.history import History

_SERVER_ERROR, _CLIENT_ERROR, _OK = 500, 400, 200
_STATE = ("snapshot_id", "rows", "content")


def check(history: History) -> Verdict:
    """The verdict on a history of hostile requests; samples are the requests."""
    requests = [operation.attributes for operation in history.of_action("request")]
    tables = [operation.attributes for operation in history.of_action("table")]
    findings = [
        *_each(requests, "server_error", "requests were answered 5xx or not at all", _broke),
        *_each(requests, "extra_rows", "rows were given away", lambda one: one["rows"] > 0),
        *_each(requests, "no_envelope", "errors came without a code", _unnamed),
        *_changed(tables),
        *_gaps_in_evidence(requests, tables, history.header.parameters),
        *_engine_not_reached(history),
    ]
    answered = sum(request["status"] == _OK for request in requests)
    passed = f"{len(requests)} hostile requests, {answered} answered with no row, the others refused; tables untouched"
    return conclude(len(requests), findings, passed)


def _broke(request: Mapping[str, Any]) -> bool:
    return request["status"] is None or request["status"] >= _SERVER_ERROR


def _unnamed(request: Mapping[str, Any]) -> bool:
    return request["status"] is not None and request["status"] >= _CLIENT_ERROR and not request.get("error_code")


def _each(requests: Sequence[Mapping[str, Any]], kind: str, detail: str, is_wrong: Any) -> Iterator[Finding]:
    wrong = [f"{one['place']}: {one['text']!r} -> {one['status']}" for one in requests if is_wrong(one)]
    if wrong:
        yield Finding(kind, detail, len(wrong), tuple(wrong))


def _changed(tables: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    states = {(one["moment"], one["table"]): [one[name] for name in _STATE] for one in tables}
    for (moment, table), state in states.items():
        if moment == "before" and states.get(("after", table), state) != state:
            yield Finding("tables_changed", f"{table} was {state} before and is {states['after', table]}")


def _engine_not_reached(history: History) -> Iterator[Finding]:
    due = int(history.header.parameters["minimum_queries"])
    asked = sum(int(operation.attributes["queries"]) for operation in history.of_action("engine"))
    if asked < due:
        yield doubt("engine_not_reached", f"the engine answered {asked} queries, {due} were planned at least")


def _gaps_in_evidence(
    requests: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> Iterator[Finding]:
    tried = Counter(request["place"] for request in requests)
    seldom = [place for place in parameters["places"] if tried[place] < int(parameters["minimum_requests"])]
    if seldom:
        yield doubt("place_untried", "places were hardly tried", len(seldom), tuple(seldom))
    read = {moment: {one["table"] for one in tables if one["moment"] == moment} for moment in ("before", "after")}
    if not read["before"] or read["before"] != read["after"]:
        yield doubt("tables_not_read", "the tables were not read before and after")
    empty = [one["table"] for one in tables if one["moment"] == "before" and not one["rows"]]
    if empty:
        yield doubt("nothing_to_give_away", "tables were empty", len(empty), tuple(empty))
