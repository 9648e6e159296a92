"""What the routes share."""

from collections.abc import Callable
from dataclasses import dataclass

from k2.api.freshness import TableFreshness
from k2.api.shedding import ApiShedding
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.resilience.degradation import LevelReport
from k2.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the routes share.

    Attributes:
        engine: answers the queries.
        settings: limits of a request.
        metrics: what /metrics shows.
        freshness: whether the tables still get new rows.
        degradation: this process's level at the moment it is called.
        shedding: what is not answered at that level.
    """

    engine: QueryEngine
    settings: ApiSettings
    metrics: Metrics
    freshness: TableFreshness
    degradation: Callable[[], LevelReport]
    shedding: ApiShedding
