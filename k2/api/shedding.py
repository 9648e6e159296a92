"""What the API does at each level: narrows or refuses what k2.resilience.shedding lists, and counts it.

A refusal is 503 with Retry-After. At every level but NOMINAL each answer says the level in X-Degradation-Level.
"""

import dataclasses
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2.api.envelope import ShedError, shed_response
from k2.api.request_info import request_info
from k2.query.result import RowQuery
from k2.resilience.circuit_breaker import Recorder
from k2.resilience.degradation import Level, LevelReport
from k2.resilience.shedding import (
    BULK,
    LARGE_BULK,
    LARGE_PAGES,
    LARGEST_PAGE_ROWS,
    LISTINGS,
    MOST_BULK_QUERIES,
    REQUESTS,
    UNBOUNDED_QUERIES,
    WIDE_QUERIES,
    WIDEST_WINDOW_SECONDS,
    Shedding,
)
from k2.resilience.signals import Component

LEVEL_HEADER = "x-degradation-level"
_DATA_PREFIX = "/v1/"
# The body is not read, so the connection cannot carry another request.
_CLOSE = {"Connection": "close"}
_HOURS = WIDEST_WINDOW_SECONDS // 3600
_REMEDIES = {
    LARGE_BULK: f"send at most {MOST_BULK_QUERIES} queries at a time",
    BULK: "send single queries for one symbol each",
    LISTINGS: "ask again later",
    WIDE_QUERIES: f"ask for one symbol, or with start_time and end_time within {_HOURS} h",
    UNBOUNDED_QUERIES: f"ask for one symbol with start_time and end_time within {_HOURS} h",
    REQUESTS: "ask again later, or another instance",
}


class ApiShedding:
    """Decides about requests; safe to share between threads.

    Args:
        report: the level now.
        metrics: counts what is shed.
        retry_after_seconds: what refused clients are told.
    """

    def __init__(self, report: Callable[[], LevelReport], metrics: Recorder, retry_after_seconds: float) -> None:
        self._shedding = Shedding(Component.API, report, metrics)
        self._retry_after_seconds = retry_after_seconds

    @property
    def level(self) -> Level:
        """The level now."""
        return self._shedding.level

    def rows(self, query: RowQuery) -> RowQuery:
        """The query as it will be answered: as it is, or for fewer rows.

        Raises:
            ShedError: it is too wide.
        """
        is_bounded = _is_bounded(query)
        self._refuse_if(UNBOUNDED_QUERIES, query.symbol is None or not is_bounded)
        self._refuse_if(WIDE_QUERIES, query.symbol is None and not is_bounded)
        if query.limit > LARGEST_PAGE_ROWS and self._shedding.sheds(LARGE_PAGES):
            self._shedding.count(LARGE_PAGES)
            return dataclasses.replace(query, limit=LARGEST_PAGE_ROWS)
        return query

    def bulk(self, queries: Sequence[RowQuery]) -> list[RowQuery]:
        """The queries of a bulk request as they will be answered.

        Raises:
            ShedError: there are too many, or one is too wide.
        """
        self._refuse_if(BULK, True)
        self._refuse_if(LARGE_BULK, len(queries) > MOST_BULK_QUERIES)
        return [self.rows(query) for query in queries]

    def listing(self) -> None:
        """Admit a listing.

        Raises:
            ShedError: there are none now.
        """
        self._refuse_if(LISTINGS, True)

    def request(self) -> None:
        """Admit any request for data.

        Raises:
            ShedError: there are none now.
        """
        self._refuse_if(REQUESTS, True)

    def _refuse_if(self, what: str, it_is: bool) -> None:
        if it_is and self._shedding.sheds(what):
            self._shedding.count(what)
            raise ShedError(what, self.level, _REMEDIES[what], self._retry_after_seconds)


class SheddingLayer:
    """ASGI middleware: names the level in answers and refuses requests for data at SHUTDOWN, bodies unread.

    It needs `ObservedRequests` around it.

    Args:
        app: the next layer.
        shedding: decides.
    """

    def __init__(self, app: ASGIApp, *, shedding: ApiShedding) -> None:
        self._app = app
        self._shedding = shedding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        level = self._shedding.level

        async def send_with_level(message: Message) -> None:
            if message["type"] == "http.response.start" and level is not Level.NOMINAL:
                headers = [*message.get("headers", ()), (LEVEL_HEADER.encode(), level.name.encode())]
                message = {**message, "headers": headers}
            await send(message)

        info = request_info(scope)
        if info.endpoint.startswith(_DATA_PREFIX):
            try:
                self._shedding.request()
            except ShedError as error:
                refusal = shed_response(info.request_id, error, _CLOSE)
                await refusal(scope, receive, send_with_level)
                return
        await self._app(scope, receive, send_with_level)


def _is_bounded(query: RowQuery) -> bool:
    if query.start_time_ns is None or query.end_time_ns is None:
        return False
    return query.end_time_ns - query.start_time_ns <= WIDEST_WINDOW_SECONDS * 10**9
