"""The HTTP application: routes, envelopes and the layers every request passes."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from k2 import __version__
from k2.api.body_limit import BodyLimit
from k2.api.context import ApiContext
from k2.api.envelope import InvalidParameterError, exception_handlers
from k2.api.freshness import TableFreshness
from k2.api.instruments import create_instruments_router
from k2.api.observed import ObservedRequests
from k2.api.request_info import EndpointNames
from k2.api.rows import create_rows_router
from k2.api.shedding import ApiShedding, SheddingLayer
from k2.api.status import create_status_router
from k2.clock import Clock
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.resilience.degradation import Level, LevelReport
from k2.settings import ApiSettings

# Requests wait in threads for a query connection, so there are many more threads than connections: a request that
# found no thread would wait outside every time limit.
_REQUEST_THREADS = 256
_OPENAPI_PATH = "/openapi.json"


def create_app(
    engine: QueryEngine,
    settings: ApiSettings,
    metrics: Metrics,
    clock: Clock,
    *,
    degradation: Callable[[], LevelReport] = lambda: LevelReport(Level.NOMINAL),
    level_hold_seconds: float = 1.0,
    new_request_id: Callable[[], str] = lambda: uuid.uuid4().hex,
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
    """
    freshness = TableFreshness(engine, clock, settings.freshness_limit_seconds, metrics)
    shedding = ApiShedding(degradation, metrics, level_hold_seconds)
    context = ApiContext(engine, settings, metrics, freshness, degradation, shedding)
    routers = (create_rows_router(context), create_instruments_router(context), create_status_router(context))
    app = FastAPI(
        title="K2",
        version=__version__,
        summary="Trades and quotes, exact and in order.",
        openapi_url=_OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_with_request_threads,
        dependencies=[Depends(_refuse_repeated_parameters)],
        exception_handlers=exception_handlers(settings),
    )
    for router in routers:
        app.include_router(router)
    # The layer added last is the outermost.
    app.add_middleware(BodyLimit, limit_bytes=settings.body_limit_bytes, metrics=metrics)
    app.add_middleware(SheddingLayer, shedding=shedding)
    app.add_middleware(
        ObservedRequests,
        endpoints=EndpointNames([*_templates(routers), _OPENAPI_PATH]),
        metrics=metrics,
        clock=clock,
        new_request_id=new_request_id,
    )
    return app


def _templates(routers: tuple[APIRouter, ...]) -> list[str]:
    return [route.path for router in routers for route in router.routes if isinstance(route, APIRoute)]


async def _refuse_repeated_parameters(request: Request) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameterError(name, "given more than once")


@asynccontextmanager
async def _with_request_threads(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _REQUEST_THREADS
    yield
