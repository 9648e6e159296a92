"""What the routes share."""

from collections.abc import Callable
from dataclasses import dataclass

from k2.api.freshness import TableFreshness
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the routes share.

    Attributes:
        engine: answers the queries.
        settings: limits of a request.
        metrics: what /metrics shows.
        freshness: whether the tables still get new rows.
        degradation_level: the platform's level at the moment it is called.
    """

    engine: QueryEngine
    settings: ApiSettings
    metrics: Metrics
    freshness: TableFreshness
    degradation_level: Callable[[], str]
