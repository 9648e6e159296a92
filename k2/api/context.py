"""What the routes share."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Response

from k2.api.draining import Draining
from k2.api.freshness import TableFreshness
from k2.api.request_threads import CheckWanted, NotInTimeError, RequestThreads
from k2.api.shedding import ApiShedding
from k2.errors import QueryTimeoutError
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.resilience.degradation import LevelReport
from k2.settings import ApiSettings

# A query says better why it was stopped than its thread could, so it gets a moment to do so.
_GRACE_SECONDS = 0.1


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
        threads: where the queries run.
        draining: whether the process is about to stop.
    """

    engine: QueryEngine
    settings: ApiSettings
    metrics: Metrics
    freshness: TableFreshness
    degradation: Callable[[], LevelReport]
    shedding: ApiShedding
    threads: RequestThreads
    draining: Draining

    async def answer(self, work: Callable[[CheckWanted], Response]) -> Response:
        """The response that the work makes in a thread, within the time limit of a request.

        Raises:
            QueryTimeoutError: there is none within the limit.
        """
        limit_seconds = self.settings.time_limit_seconds
        try:
            return await self.threads.run(work, limit_seconds + _GRACE_SECONDS)
        except NotInTimeError as error:
            raise QueryTimeoutError(
                f"no answer was ready at the limit of {limit_seconds:g} s; ask for less, or again later"
            ) from error
