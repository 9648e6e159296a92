"""Rules between parameters of K2's API, which its OpenAPI document cannot say.

Requests that break them are right in the eyes of the document and refused, so none are made up from it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

MOST_BULK_ROWS = 100_000


def keeps_rules(query: object, body: object) -> bool:
    """No time range that ends before it begins, one choice of snapshot, no more rows than one answer holds."""
    if isinstance(query, Mapping) and not (_is_forward(query) and _is_one_choice(query)):
        return False
    queries = body.get("queries") if isinstance(body, Mapping) else None
    if not isinstance(queries, list) or not all(isinstance(each, Mapping) for each in queries):
        return True
    limits = [each.get("limit", 1_000) for each in queries]
    asked = sum(limit for limit in limits if isinstance(limit, int | float))
    return asked <= MOST_BULK_ROWS and all(_is_forward(each) for each in queries)


def _is_forward(query: Mapping[str, Any]) -> bool:
    start, end = _nanoseconds(query.get("start_time")), _nanoseconds(query.get("end_time"))
    return start is None or end is None or start <= end


def _is_one_choice(query: Mapping[str, Any]) -> bool:
    return sum(query.get(name) is not None for name in ("snapshot_id", "as_of_time", "cursor")) < 2


def _nanoseconds(time: object) -> float | None:
    """A time of the document's two forms; None of anything else, which is refused for itself."""
    if isinstance(time, int | float):
        return float(time)
    if not isinstance(time, str):
        return None
    if time.lstrip("-").isdigit():
        return float(time)
    try:
        return datetime.fromisoformat(time.upper().replace(":60", ":59")).timestamp() * 1e9
    except (ValueError, OverflowError):
        return None
