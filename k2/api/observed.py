"""The outermost layer: every request gets an id, is counted and timed, and ends in an envelope whatever happens."""

import asyncio
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2.api import problems
from k2.api.draining import Draining
from k2.api.envelope import error_response, internal_error_response
from k2.api.request_info import REQUEST_ID_HEADER, EndpointNames, attach_request_info
from k2.clock import Clock
from k2.observability.metrics import Metrics

# What proxies write into their logs when the client left before there was an answer.
_NO_ANSWER_STATUS = 499

_log = structlog.get_logger()


class ObservedRequests:
    """ASGI middleware; see the module.

    Args:
        app: the next layer.
        endpoints: names for the endpoint label.
        metrics: receives k2_http_requests_total and k2_http_request_duration_seconds.
        clock: measures durations.
        new_request_id: makes the id of a request that brought none.
        draining: once it has begun, every answer closes its connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: EndpointNames,
        metrics: Metrics,
        clock: Clock,
        new_request_id: Callable[[], str],
        draining: Draining | None = None,
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._metrics = metrics
        self._clock = clock
        self._new_request_id = new_request_id
        self._draining = draining or Draining()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_ns = self._clock.monotonic_ns()
        info = attach_request_info(scope, self._endpoints, self._new_request_id)
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (REQUEST_ID_HEADER.encode(), info.request_id.encode())]
                if self._draining.has_begun:
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The process stops and cuts off what has not ended by itself.
            if status is None:
                message = "the service stopped before the request was answered; ask another instance"
                await error_response(problems.STOPPING, message, info.request_id)(scope, receive, send_with_id)
            raise
        except Exception:
            _log.exception("request failed", request_id=info.request_id, endpoint=info.endpoint)
            if status is not None:
                raise
            await internal_error_response(info.request_id)(scope, receive, send_with_id)
        finally:
            labels = {"method": info.method, "endpoint": info.endpoint}
            self._metrics.increment("k2_http_requests_total", {**labels, "status": str(status or _NO_ANSWER_STATUS)})
            self._metrics.observe(
                "k2_http_request_duration_seconds", (self._clock.monotonic_ns() - started_ns) / 1e9, labels
            )
