"""The OpenAPI document: the schema and an example of every answer, and every way a request can fail."""

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from k2.api import examples, json_schemas, problems
from k2.api.json_schemas import Schema, reference_to, success_schema
from k2.api.parameters import BulkRequest
from k2.api.problems import PROBLEMS, Problem

Responses = dict[int | str, dict[str, Any]]

_JSON = "application/json"
_DESCRIPTION = (
    "Every answer carries X-Request-Id: the client's own where it sent a usable one (1 to 64 of A-Z a-z 0-9 . _ -). "
    "Every failure has one shape, see ErrorEnvelope; its `type` is described at /docs."
)
_HEADERS = {
    "X-Request-Id": {
        "description": "Names this request in answers and in the log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    }
}
# What can become of a request before any route sees it.
_BELOW_ROUTES = (400, 408, 413, 431, 500, 503)


class ErrorDetail(BaseModel):
    """What went wrong: the members of RFC 9457, and what this service says beside them."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Address of the description of this kind of failure.")
    title: str = Field(description="The kind of failure.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time.")
    instance: str = Field(description="Names this occurrence.")
    code: str = Field(
        description="The kind of failure, for programs.",
        json_schema_extra={"enum": [problem.code for problem in PROBLEMS]},
    )
    message: str = Field(description="The same as detail.")
    request_id: str = Field(description="Also in the X-Request-Id header and in the log.")


class ErrorEnvelope(BaseModel):
    """Body of every answer with a status of 400 or above."""

    model_config = ConfigDict(extra="allow")

    success: Literal[False]
    error: ErrorDetail


_MESSAGES = {
    problems.BAD_REQUEST: "the request is not HTTP/1.1: Invalid method encountered",
    problems.METHOD_NOT_ALLOWED: "PUT /v1/trades: Method Not Allowed",
    problems.REQUEST_TIMEOUT: "the body did not arrive within 5 s",
    problems.PAYLOAD_TOO_LARGE: "the body is over the limit of 10485760 bytes; send it in smaller requests",
    problems.INVALID_PARAMETER: "limit: Input should be less than or equal to 10000",
    problems.HEADER_TOO_LARGE: "the head is over 32768 bytes",
    problems.INTERNAL_ERROR: "the request failed; the log has the reason",
    problems.SNAPSHOT_NOT_FOUND: "table market_data.trades_v2 has no snapshot 7: it never existed or has expired",
    problems.UNSUPPORTED_MEDIA_TYPE: "send the body as application/json",
    problems.POOL_EXHAUSTED: "every query connection is busy",
    problems.QUERY_TIMEOUT: "the trades query was stopped at its limit of 30 s; "
    "ask for one symbol, a shorter time range or fewer rows",
}
_DETAILS: dict[Problem, dict[str, Any]] = {
    problems.INVALID_PARAMETER: {
        "parameter": "limit",
        "details": [{"parameter": "limit", "message": "Input should be less than or equal to 10000"}],
    },
    problems.PAYLOAD_TOO_LARGE: {"size_mb": 10.000001, "limit_mb": 10.0},
    problems.QUERY_TIMEOUT: {"limit_seconds": 30.0},
}


def example_error(problem: Problem) -> dict[str, Any]:
    """An error envelope as it may be answered."""
    message = _MESSAGES.get(problem, problem.meaning)
    error = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": message,
        "instance": f"urn:k2:request:{examples.REQUEST_ID}",
        "code": problem.code,
        "message": message,
        "request_id": examples.REQUEST_ID,
    }
    return {"success": False, "error": {**error, **_DETAILS.get(problem, {})}}


def _failure(status: int, schema: Schema | None = None) -> dict[str, Any]:
    """What is answered with a status of 400 or above: each problem that has it, the likeliest as the example."""
    possible = [problem for problem in PROBLEMS if problem.status == status]
    shown = next((problem for problem in possible if problem in _MESSAGES), possible[0])
    return {
        "description": " ".join(f"{problem.code}: {problem.meaning}" for problem in possible),
        "headers": _HEADERS,
        "content": {_JSON: {"schema": schema or reference_to("ErrorEnvelope"), "example": example_error(shown)}},
    }


def _success(
    description: str, item: Schema, meta: dict[str, Schema], shown: dict[str, Any], **values: object
) -> Responses:
    example = {"success": True, "data": [shown], "meta": {**values, "count": 1, "request_id": examples.REQUEST_ID}}
    content = {_JSON: {"schema": success_schema(item, meta), "example": example}}
    return {200: {"description": description, "headers": _HEADERS, "content": content}}


def _failures(*statuses: int) -> Responses:
    return {status: _failure(status) for status in sorted({*statuses, *_BELOW_ROUTES})}


_PAGE = {**examples.SNAPSHOT, "next_cursor": examples.CURSOR}
_ROW_FAILURES = _failures(404, 422, 504)
TRADE_RESPONSES = {
    **_success("A page of trades.", reference_to("Trade"), json_schemas.PAGE_META, examples.TRADE, **_PAGE),
    **_ROW_FAILURES,
}
QUOTE_RESPONSES = {
    **_success("A page of quotes.", reference_to("Quote"), json_schemas.PAGE_META, examples.QUOTE, **_PAGE),
    **_ROW_FAILURES,
}
REFERENCE_RESPONSES = {
    **_success(
        "A page of reference data.",
        reference_to("ReferenceData"),
        json_schemas.PAGE_META,
        examples.REFERENCE,
        **_PAGE,
    ),
    **_ROW_FAILURES,
}
BULK_RESPONSES = {
    **_success(
        "One entry a query, in their order.",
        json_schemas.BULK_RESULT,
        json_schemas.LISTING_META,
        {"rows": [examples.TRADE], "meta": {"count": 1, "next_cursor": examples.CURSOR}},
        **examples.SNAPSHOT,
    ),
    **_failures(404, 415, 422, 504),
}
SYMBOL_RESPONSES = {
    **_success(
        "Instruments, ordered.", json_schemas.SYMBOL, json_schemas.LISTING_META, examples.SYMBOL, **examples.SNAPSHOT
    ),
    **_failures(422, 504),
}
GAP_RESPONSES = {
    **_success("Missing ranges, both ends included.", json_schemas.GAP, json_schemas.COUNT_META, examples.GAP),
    **_failures(422, 504),
}
SNAPSHOT_RESPONSES = {
    **_success(
        "States that can be read, the newest first; total counts those there are.",
        json_schemas.SNAPSHOT,
        json_schemas.SNAPSHOTS_META,
        examples.TABLE_SNAPSHOT,
        total=1,
    ),
    **_failures(422, 504),
}
HEALTH_RESPONSES: Responses = {
    200: {
        "description": "Ready. Stale: an exchange's rows have stopped coming; what is answered is right, but not new.",
        "headers": _HEADERS,
        "content": {
            _JSON: {
                "schema": json_schemas.READY,
                "example": {
                    "status": "stale",
                    **examples.HEALTH,
                    "ready": True,
                    "checks": {"catalog": "ok", "freshness": "trades of BINANCE: no row for 412 s"},
                    "freshness": examples.FRESHNESS,
                },
            }
        },
    },
    **_failures(),
    503: {
        "description": "Alive, but not ready: the tables cannot be read, the level is SHUTDOWN, or the service stops.",
        "headers": _HEADERS,
        "content": {
            _JSON: {
                "schema": {"anyOf": [json_schemas.NOT_READY, reference_to("ErrorEnvelope")]},
                "example": {
                    "status": "unavailable",
                    **examples.HEALTH,
                    "ready": False,
                    "checks": {"catalog": "it cannot be read"},
                    **example_error(problems.NOT_READY),
                },
            }
        },
    },
}
METRICS_RESPONSES: Responses = {
    200: {
        "description": "All metrics.",
        "headers": _HEADERS,
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "k2_connection_pool_size 5.0\n"}},
    },
    **_failures(),
}


def _never_null(schema: Schema) -> Schema:
    """A query parameter may be left out, and has no way of being null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return {**{name: value for name, value in schema.items() if name != "anyOf"}, **options[0]}
    return {**schema, "anyOf": options} if options else schema


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document of an application, made once."""
    if not app.openapi_schema:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=_DESCRIPTION,
            routes=app.routes,
        )
        models = {
            model.__name__: model.model_json_schema(ref_template="#/components/schemas/{model}")
            for model in (ErrorEnvelope, BulkRequest)
        }
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, model in models.items():
            schemas |= model.pop("$defs", {})
            schemas[name] = model
        schemas |= json_schemas.COMPONENTS
        for operations in document["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _never_null(parameter["schema"])
        app.openapi_schema = document
    return app.openapi_schema
