"""Whether the service lives and can answer, its metrics and its documentation: /health, /metrics and /docs."""

from collections.abc import Callable
from typing import Any

import orjson
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from k2.api import problems
from k2.api.context import ApiContext
from k2.api.documentation import HEALTH_RESPONSES, METRICS_RESPONSES
from k2.api.documentation_page import PAGE_HEADERS, documentation_page
from k2.api.envelope import error_response
from k2.api.request_info import request_info
from k2.api.request_threads import CheckWanted, NotInTimeError, RequestThreads
from k2.errors import CircuitOpenError
from k2.resilience.degradation import Level

_CHECKS_AT_ONCE = 4
_EXPOSITION_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_log = structlog.get_logger()


class _Checks:
    """Looks at what may not answer, in threads of its own.

    Args:
        timeout_seconds: a catalog that answers later cannot serve queries either.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._threads = RequestThreads(_CHECKS_AT_ONCE)

    async def problem_of(self, look: Callable[[], None], what: str) -> str | None:
        """Why it cannot be looked at; None if it can."""

        def work(_: CheckWanted) -> None:
            look()

        try:
            await self._threads.run(work, self._timeout_seconds)
        except NotInTimeError:
            return f"no answer within {self._timeout_seconds:g} s"
        except CircuitOpenError:
            # The breaker has said once that it opened; supervisors ask again and again.
            return "it is left alone after failures"
        except Exception as error:  # noqa: BLE001 - whatever stops the tables from being looked at is an answer here
            _log.warning(f"{what} check failed", error=str(error))
            return "it cannot be read"
        return None


def create_status_router(context: ApiContext) -> APIRouter:
    """The routes for supervisors, Prometheus and readers; they answer also while every query thread is busy."""
    router = APIRouter(tags=["status"])
    checks = _Checks(context.settings.check_timeout_seconds)

    @router.get("/health", summary="Whether the service is ready, and its tables fresh", responses=HEALTH_RESPONSES)
    async def get_health(request: Request) -> Response:
        level = context.degradation()
        health: dict[str, Any] = {
            "live": True,
            "degradation_level": level.level.name,
            "degradation_reasons": level.reasons,
        }
        if context.draining.has_begun:
            return _not_ready(request, health, "stopping", "the service stops", "not asked")
        problem = await checks.problem_of(context.engine.check_source, "catalog")
        if problem is not None:
            return _not_ready(request, health, "unavailable", f"the catalog: {problem}", problem)
        if level.level is Level.SHUTDOWN:
            return _not_ready(request, health, "shutdown", "requests for data are refused", "ok")
        unread = await checks.problem_of(context.freshness.look, "freshness")
        report = context.freshness.report()
        stale = [unread] if unread is not None else list(report.stale)
        health |= {
            # Stale is no reason to take the service away: what it answers is right, and others have nothing newer.
            "status": "stale" if stale else "ok",
            "ready": True,
            "checks": {"catalog": "ok", "freshness": "; ".join(stale) or "ok"},
            "freshness": {"limit_seconds": context.settings.freshness_limit_seconds, "tables": report.tables},
        }
        return Response(orjson.dumps(health), media_type="application/json")

    @router.get(
        "/metrics",
        summary="Metrics in the Prometheus text format",
        response_class=PlainTextResponse,
        responses=METRICS_RESPONSES,
    )
    async def get_metrics() -> Response:
        # Where it fails, what is known goes on growing old.
        await checks.problem_of(context.freshness.look, "freshness")
        return Response(context.metrics.exposition(), media_type=_EXPOSITION_MEDIA_TYPE)

    @router.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def get_documentation(request: Request) -> HTMLResponse:
        return HTMLResponse(documentation_page(request.app.openapi()), headers=PAGE_HEADERS)

    return router


def _not_ready(request: Request, health: dict[str, Any], status: str, why: str, catalog: str) -> Response:
    shown = {**health, "status": status, "ready": False, "checks": {"catalog": catalog}}
    return error_response(problems.NOT_READY, why, request_info(request.scope).request_id, beside=shown)
