"""Whether the service lives and can answer, and its metrics: /health and /metrics."""

import asyncio

import anyio
import orjson
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from k2.api.context import ApiContext
from k2.api.documentation import HEALTH_RESPONSES, METRICS_RESPONSES
from k2.api.envelope import error_response
from k2.api.request_info import request_info

# A catalog that answers later than this cannot serve queries either.
_CHECK_TIMEOUT_SECONDS = 2.0
_CHECKS_AT_ONCE = 4
_EXPOSITION_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_log = structlog.get_logger()


def create_status_router(context: ApiContext) -> APIRouter:
    """The routes for supervisors and Prometheus; they answer also while every query thread is busy."""
    router = APIRouter(tags=["status"])
    threads = anyio.CapacityLimiter(_CHECKS_AT_ONCE)

    async def catalog_problem() -> str | None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
                await anyio.to_thread.run_sync(context.engine.check_source, abandon_on_cancel=True, limiter=threads)
        except TimeoutError:
            return f"no answer within {_CHECK_TIMEOUT_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever stops the catalog from answering makes it not ready
            _log.warning("catalog check failed", error=str(error))
            return "it cannot be read"
        return None

    @router.get("/health", summary="Whether the service is ready", responses=HEALTH_RESPONSES)
    async def get_health(request: Request) -> Response:
        problem = await catalog_problem()
        health = {
            "status": "ok" if problem is None else "unavailable",
            "live": True,
            "ready": problem is None,
            "degradation_level": context.degradation_level(),
            "checks": {"catalog": "ok" if problem is None else problem},
        }
        if problem is None:
            return Response(orjson.dumps(health), media_type="application/json")
        request_id = request_info(request.scope).request_id
        return error_response(503, "NOT_READY", f"the catalog: {problem}", request_id, beside=health)

    @router.get(
        "/metrics",
        summary="Metrics in the Prometheus text format",
        response_class=PlainTextResponse,
        responses=METRICS_RESPONSES,
    )
    async def get_metrics() -> Response:
        return Response(context.metrics.exposition(), media_type=_EXPOSITION_MEDIA_TYPE)

    return router
