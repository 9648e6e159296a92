"""The one shape of every answer: {"success": true, "data", "meta"} or {"success": false, "error"}.

The error holds the members of RFC 9457 (type, title, status, detail, instance) beside code, message and request_id.
"""

import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from k2.api import problems
from k2.api.problems import Problem
from k2.api.request_info import request_info
from k2.errors import CircuitOpenError, K2Error, PoolExhaustedError, QueryTimeoutError, UnavailableError, UsageError
from k2.resilience.degradation import Level
from k2.settings import ApiSettings

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

_MEDIA_TYPE = "application/json"
_FRAMEWORK_PROBLEMS = {404: problems.NOT_FOUND, 405: problems.METHOD_NOT_ALLOWED}
# A body can be wrong in a million places.
_MOST_COMPLAINTS = 20
_UNKNOWN_PARAMETER = "extra_forbidden"
_UNREADABLE = "the tables cannot be read at the moment; ask again later"

_log = structlog.get_logger()


class InvalidParameterError(UsageError):
    """A request parameter that cannot be used.

    Attributes:
        parameter: its name, as the client wrote it.
    """

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class UnknownSnapshotError(UsageError):
    """The snapshot a request wants to be answered from does not exist."""


class UnsupportedMediaTypeError(UsageError):
    """A body came as something that is not read here."""


class ShedError(K2Error):
    """A request is not answered at the present level of service, see k2.api.shedding.

    Attributes:
        what: the kind of work it is, as in k2.resilience.shedding.
        level: the level.
        retry_after_seconds: when the level may be another.
    """

    def __init__(self, what: str, level: Level, remedy: str, retry_after_seconds: float) -> None:
        super().__init__(f"not answered while the service is {level.name}: {remedy}")
        self.what = what
        self.level = level
        self.retry_after_seconds = retry_after_seconds


def success_response(request: Request, data: Sequence[Any], meta: Mapping[str, Any]) -> Response:
    """200 with data and meta; the request id is added to meta."""
    return joined_response(request, [orjson.dumps(data)[1:-1]], meta)


def joined_response(request: Request, data: Iterable[bytes], meta: Mapping[str, Any]) -> Response:
    """As `success_response`, of data that is JSON already: the items of the list, or several of them with commas."""
    given = orjson.dumps({**meta, "request_id": request_info(request.scope).request_id})
    body = b'{"success":true,"data":[%b],"meta":%b}' % (b",".join(data), given)
    return Response(body, media_type=_MEDIA_TYPE)


def error_response(
    problem: Problem,
    message: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    beside: Mapping[str, object] | None = None,
    details: Mapping[str, object] | None = None,
) -> Response:
    """An error envelope.

    Args:
        problem: what kind of failure it is.
        message: what went wrong this time, for people; nothing about the inside of the platform.
        request_id: correlates answer and log.
        headers: of the response.
        beside: keys next to "success" and "error".
        details: further keys of the error.
    """
    error = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": message,
        "instance": f"urn:k2:request:{request_id}",
        "code": problem.code,
        "message": message,
        "request_id": request_id,
        **(details or {}),
    }
    body = {**(beside or {}), "success": False, "error": error}
    return Response(orjson.dumps(body), problem.status, dict(headers or {}), _MEDIA_TYPE)


def internal_error_response(request_id: str) -> Response:
    """500 that tells nothing but the request id."""
    return error_response(problems.INTERNAL_ERROR, "the request failed; the log has the reason", request_id)


def shed_response(request_id: str, error: ShedError, headers: Mapping[str, str] | None = None) -> Response:
    """503 for a request that is shed."""
    details = {"shed": error.what, "degradation_level": error.level.name}
    headers = {**retry_after(error.retry_after_seconds), **(headers or {})}
    return error_response(problems.SHED, str(error), request_id, headers=headers, details=details)


def exception_handlers(settings: ApiSettings) -> dict[int | type[Exception], Handler]:
    """What each exception of a handler, of the framework or of the engine becomes."""

    async def on_timeout(request: Request, error: QueryTimeoutError) -> Response:
        return _error(request, problems.QUERY_TIMEOUT, str(error), limit_seconds=settings.time_limit_seconds)

    async def on_pool_exhausted(request: Request, _: PoolExhaustedError) -> Response:
        headers = retry_after(settings.pool_wait_seconds)
        return _error(request, problems.POOL_EXHAUSTED, "every query connection is busy", headers)

    return {
        HTTPException: _on_http_exception,
        RequestValidationError: _on_validation_error,
        InvalidParameterError: _on_invalid_parameter,
        UnknownSnapshotError: _on_unknown_snapshot,
        UnsupportedMediaTypeError: _on_unsupported_media_type,
        UsageError: _on_usage_error,
        QueryTimeoutError: on_timeout,
        PoolExhaustedError: on_pool_exhausted,
        CircuitOpenError: _on_circuit_open,
        ShedError: _on_shed,
        UnavailableError: _on_unavailable,
        K2Error: _on_other_error,
    }


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    problem = _FRAMEWORK_PROBLEMS.get(error.status_code, problems.BAD_REQUEST)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return _error(request, problem, message, error.headers)


async def _on_validation_error(request: Request, error: RequestValidationError) -> Response:
    # The values that were sent stay out of the answer.
    found = error.errors()[:_MOST_COMPLAINTS]
    details = [{"parameter": _parameter(each), "message": _complaint(each)} for each in found]
    message = "; ".join(f"{detail['parameter']}: {detail['message']}" for detail in details)
    return _error(request, problems.INVALID_PARAMETER, message, parameter=details[0]["parameter"], details=details)


async def _on_invalid_parameter(request: Request, error: InvalidParameterError) -> Response:
    return _error(request, problems.INVALID_PARAMETER, f"{error.parameter}: {error}", parameter=error.parameter)


async def _on_unknown_snapshot(request: Request, error: UnknownSnapshotError) -> Response:
    return _error(request, problems.SNAPSHOT_NOT_FOUND, str(error))


async def _on_unsupported_media_type(request: Request, error: UnsupportedMediaTypeError) -> Response:
    return _error(request, problems.UNSUPPORTED_MEDIA_TYPE, str(error), {"Accept": "application/json"})


async def _on_usage_error(request: Request, error: UsageError) -> Response:
    return _error(request, problems.INVALID_PARAMETER, str(error))


async def _on_unavailable(request: Request, error: UnavailableError) -> Response:
    _log.warning("request failed", request_id=request_info(request.scope).request_id, error=str(error))
    return _error(request, problems.UNAVAILABLE, _UNREADABLE)


async def _on_circuit_open(request: Request, error: CircuitOpenError) -> Response:
    # Not logged: the breaker has said once that it opened, and these may be many.
    return _error(request, problems.UNAVAILABLE, _UNREADABLE, retry_after(error.retry_after_seconds))


async def _on_shed(request: Request, error: ShedError) -> Response:
    return shed_response(request_info(request.scope).request_id, error)


async def _on_other_error(request: Request, error: K2Error) -> Response:
    request_id = request_info(request.scope).request_id
    _log.error("request failed", request_id=request_id, error=str(error), exc_info=error)
    return internal_error_response(request_id)


def _error(
    request: Request, problem: Problem, message: str, headers: Mapping[str, str] | None = None, **details: object
) -> Response:
    request_id = request_info(request.scope).request_id
    return error_response(problem, message, request_id, headers=headers, details=details)


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to ask again: whole seconds, at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _parameter(found: Mapping[str, Any]) -> str:
    source, *path = found["loc"]
    if found["type"] == "json_invalid" or not path:
        return str(source)
    return ".".join(str(part) for part in path)


def _complaint(found: Mapping[str, Any]) -> str:
    if found["type"] == _UNKNOWN_PARAMETER:
        return "there is no such parameter"
    return str(found["msg"]).removeprefix("Value error, ")
