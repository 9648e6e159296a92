"""The HTTP application: routes, envelopes and the layers every request passes."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from k2 import __version__
from k2.api.body_limit import BodyLimit, BodyLimits
from k2.api.context import ApiContext
from k2.api.documentation import openapi_document
from k2.api.draining import Draining
from k2.api.envelope import InvalidParameterError, exception_handlers
from k2.api.freshness import TableFreshness
from k2.api.instruments import create_instruments_router
from k2.api.observed import ObservedRequests
from k2.api.request_info import EndpointNames
from k2.api.request_threads import RequestThreads
from k2.api.rows import BULK_PATH, create_rows_router
from k2.api.shedding import ApiShedding, SheddingLayer
from k2.api.status import create_status_router
from k2.clock import Clock
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.resilience.degradation import Level, LevelReport
from k2.settings import ApiSettings

# Requests wait in threads for a query connection, so there are many more threads than connections.
_REQUEST_THREADS = 256
# An interrupted query ends in milliseconds; what takes longer hangs in storage.
_LAST_WAIT_SECONDS = 2.0
_OPENAPI_PATH = "/openapi.json"
_log = structlog.get_logger("k2.api")


def create_app(
    engine: QueryEngine,
    settings: ApiSettings,
    metrics: Metrics,
    clock: Clock,
    *,
    degradation: Callable[[], LevelReport] = lambda: LevelReport(Level.NOMINAL),
    level_hold_seconds: float = 1.0,
    new_request_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    draining: Draining | None = None,
) -> FastAPI:
    """The application over an engine.

    Args:
        engine: answers the queries; closed by whoever made it.
        settings: limits of a request.
        metrics: counts requests, and is what /metrics shows.
        clock: measures durations, and how long the tables have been silent.
        degradation: this process's level, which decides what is shed.
        level_hold_seconds: how long a level lasts at least.
        new_request_id: makes the id of a request that brought none.
        draining: begins when the process is told to stop.
    """
    draining = draining or Draining()
    freshness = TableFreshness(engine, clock, settings.freshness_limit_seconds, metrics)
    shedding = ApiShedding(degradation, metrics, level_hold_seconds)
    threads = RequestThreads(_REQUEST_THREADS, metrics)
    context = ApiContext(engine, settings, metrics, freshness, degradation, shedding, threads, draining)
    routers = (create_rows_router(context), create_instruments_router(context), create_status_router(context))
    app = FastAPI(
        title="K2",
        version=__version__,
        summary="Trades and quotes, exact and in order.",
        openapi_url=_OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _app: _stopping_queries(engine, threads),
        dependencies=[Depends(_refuse_repeated_parameters)],
        exception_handlers=exception_handlers(settings),
    )
    for router in routers:
        app.include_router(router)
    app.openapi = partial(openapi_document, app)  # type: ignore[method-assign]
    # The layer added last is the outermost.
    app.add_middleware(BodyLimit, limits=_body_limits(settings), metrics=metrics, readers=[("POST", BULK_PATH)])
    app.add_middleware(SheddingLayer, shedding=shedding)
    app.add_middleware(
        ObservedRequests,
        endpoints=EndpointNames([*_templates(routers), _OPENAPI_PATH]),
        metrics=metrics,
        clock=clock,
        new_request_id=new_request_id,
        draining=draining,
    )
    return app


def _body_limits(settings: ApiSettings) -> BodyLimits:
    return BodyLimits(
        settings.body_limit_bytes,
        settings.bodies_limit_bytes,
        settings.body_read_timeout_seconds,
        settings.slowest_bytes_per_second,
    )


@asynccontextmanager
async def _stopping_queries(engine: QueryEngine, threads: RequestThreads) -> AsyncIterator[None]:
    yield
    # Requests that were cut off have left queries behind, and a process that ends in the middle of one crashes.
    engine.stop()
    if not await threads.wait_until_idle(_LAST_WAIT_SECONDS):
        _log.warning("the process ends although the catalog has not answered some requests yet")


def _templates(routers: tuple[APIRouter, ...]) -> list[str]:
    return [route.path for router in routers for route in router.routes if isinstance(route, APIRoute)]


async def _refuse_repeated_parameters(request: Request) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameterError(name, "given more than once")
