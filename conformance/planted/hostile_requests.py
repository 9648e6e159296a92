"""What the checker of hostile requests must catch."""

from typing import Any

import numpy as np

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_operations, with_attributes, with_parameters

_PLACES = ("query /v1/trades symbol", "query /v1/trades limit", "body /v1/trades/query exchange")
_TABLES = ("market_data.trades_v2", "market_data.quotes_v2")
_REQUESTS = 6


def clean_hostile_requests(seed: int) -> History:
    """Text that finds nothing where it is a name, and is refused where it cannot be a number."""
    random = np.random.default_rng(seed)
    requests = [_request(place, number, int(random.integers(0, 9))) for place in _PLACES for number in range(_REQUESTS)]
    events = [
        *(_table("before", table, n) for n, table in enumerate(_TABLES)),
        *(operation("api", "request", START_NS + (10 + n) * SECOND_NS, one) for n, one in enumerate(requests)),
        operation("api", "engine", START_NS + 99 * SECOND_NS, {"queries": _REQUESTS}),
        *(_table("after", table, 100 + n) for n, table in enumerate(_TABLES)),
    ]
    parameters = {
        "minimum_samples": len(requests),
        "places": list(_PLACES),
        "minimum_requests": _REQUESTS,
        "minimum_queries": 4,
    }
    header = Header("planted/hostile_requests", (), "hostile_requests", seed, "embedded", START_NS, parameters)
    return History(header, tuple(events))


def _request(place: str, number: int, quotes: int) -> dict[str, Any]:
    is_number = place.endswith("limit")
    return {
        "place": place,
        "text": "'" * quotes + f" OR {number}",
        "status": 422 if is_number else 200,
        "rows": 0,
        "error_code": "INVALID_PARAMETER" if is_number else None,
    }


def _table(moment: str, table: str, second: int) -> Any:
    attributes = {"moment": moment, "table": table, "snapshot_id": 7, "rows": 100, "content": "5e1f"}
    return operation("harness", "table", START_NS + second * SECOND_NS, attributes)


def _one_request(place: str, **changed: object) -> Plant:
    def edit(history: History) -> History:
        changes = iter([changed])
        return edit_operations(
            history,
            "request",
            lambda one: with_attributes(one, next(changes, {})) if one.attributes["place"] == place else one,
        )

    return edit


def _afterwards(**changed: object) -> Plant:
    return lambda history: edit_operations(
        history,
        "table",
        lambda one: (
            with_attributes(one, changed)
            if one.attributes["moment"] == "after" and one.attributes["table"] == _TABLES[1]
            else one
        ),
    )


SUITE = Suite(
    "hostile_requests",
    clean_hostile_requests,
    (
        Defect("quote_breaks_the_query", "server_error", _one_request(_PLACES[0], status=500, error_code="X")),
        Defect("connection_dropped", "server_error", _one_request(_PLACES[1], status=None)),
        Defect("condition_injected", "extra_rows", _one_request(_PLACES[2], rows=100)),
        Defect("refused_in_plain_text", "no_envelope", _one_request(_PLACES[1], error_code=None)),
        Defect("rows_deleted", "tables_changed", _afterwards(rows=99)),
        Defect("rows_changed", "tables_changed", _afterwards(content="0000")),
        Defect("snapshot_made", "tables_changed", _afterwards(snapshot_id=8)),
        Defect(
            "place_left_out",
            "place_untried",
            lambda one: with_parameters(one, places=[*_PLACES, "query /v1/gaps symbol"]),
            Outcome.UNKNOWN,
        ),
        Defect(
            "nothing_came_as_far_as_the_engine",
            "engine_not_reached",
            lambda history: edit_operations(history, "engine", lambda one: with_attributes(one, {"queries": 0})),
            Outcome.UNKNOWN,
        ),
        Defect(
            "empty_tables",
            "nothing_to_give_away",
            lambda history: edit_operations(history, "table", lambda one: with_attributes(one, {"rows": 0})),
            Outcome.UNKNOWN,
        ),
        Defect(
            "tables_not_read",
            "tables_not_read",
            lambda history: edit_operations(
                history, "table", lambda one: one if one.attributes["moment"] == "before" else None
            ),
            Outcome.UNKNOWN,
        ),
    ),
)
