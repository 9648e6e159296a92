"""Rows of the tables: /v1/trades, /v1/quotes, /v1/reference and the bulk query."""

from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from k2.api.bulk_body import BULK_BODY, read_bulk_request
from k2.api.context import ApiContext
from k2.api.cursor import next_cursor
from k2.api.documentation import BULK_RESPONSES, QUOTE_RESPONSES, REFERENCE_RESPONSES, TRADE_RESPONSES
from k2.api.envelope import UnknownSnapshotError, joined_response, success_response
from k2.api.parameters import RowParameters
from k2.api.rendering import render_rows
from k2.api.request_threads import CheckWanted
from k2.errors import UsageError
from k2.query.result import QueryResult, RowQuery
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE

BULK_PATH = "/v1/trades/query"


def create_rows_router(context: ApiContext) -> APIRouter:
    """The routes that return rows."""
    router = APIRouter(tags=["rows"])

    @router.get("/v1/trades", summary="Trades in order of event time", responses=TRADE_RESPONSES)
    async def get_trades(request: Request, parameters: Annotated[RowParameters, Query()]) -> Response:
        return await _page(context, request, TRADE.data_type, parameters)

    @router.get("/v1/quotes", summary="Quotes in order of event time", responses=QUOTE_RESPONSES)
    async def get_quotes(request: Request, parameters: Annotated[RowParameters, Query()]) -> Response:
        return await _page(context, request, QUOTE.data_type, parameters)

    @router.get("/v1/reference", summary="Reference data in order of event time", responses=REFERENCE_RESPONSES)
    async def get_reference(request: Request, parameters: Annotated[RowParameters, Query()]) -> Response:
        return await _page(context, request, REFERENCE_DATA.data_type, parameters)

    @router.post(
        BULK_PATH,
        summary="Several trade queries, answered from one snapshot within one time limit",
        responses=BULK_RESPONSES,
        openapi_extra={"requestBody": BULK_BODY},
    )
    async def query_trades(request: Request) -> Response:
        body = await read_bulk_request(request)
        queries = context.shedding.bulk([query.row_query() for query in body.queries])

        def work(check_wanted: CheckWanted) -> Response:
            results = _results(context, TRADE.data_type, queries, body.snapshot_id)
            pieces: list[bytes] = []
            for result in results:
                # One result at a time: between two of them others get their turn, and lost work ends.
                check_wanted()
                pieces.append(orjson.dumps({"rows": render_rows(result.rows), "meta": _row_meta(result)}))
            return joined_response(request, pieces, {**_snapshot_meta(results[0]), "count": len(pieces)})

        return await context.answer(work)

    return router


async def _page(context: ApiContext, request: Request, data_type: str, parameters: RowParameters) -> Response:
    chosen = parameters.chosen()
    admitted = context.shedding.rows(chosen.query)

    def work(check_wanted: CheckWanted) -> Response:
        (result,) = _results(context, data_type, [admitted], chosen.snapshot_id, chosen.as_of_time_ns)
        check_wanted()
        return success_response(request, render_rows(result.rows), {**_snapshot_meta(result), **_row_meta(result)})

    return await context.answer(work)


def _results(
    context: ApiContext,
    data_type: str,
    queries: Sequence[RowQuery],
    snapshot_id: int | None,
    as_of_time_ns: int | None = None,
) -> tuple[QueryResult, ...]:
    try:
        return context.engine.query_rows(
            data_type,
            queries,
            snapshot_id=snapshot_id,
            as_of_time_ns=as_of_time_ns,
            time_limit_seconds=context.settings.time_limit_seconds,
            pool_wait_seconds=context.settings.pool_wait_seconds,
        )
    except UsageError as error:
        # Everything else was validated before; only storage knows which snapshots there are.
        raise UnknownSnapshotError(str(error)) from error


def _snapshot_meta(result: QueryResult) -> dict[str, int | None]:
    return {"snapshot_id": result.snapshot_id, "snapshot_time_ms": result.snapshot_time_ms}


def _row_meta(result: QueryResult) -> dict[str, int | str | None]:
    return {"count": result.rows.num_rows, "next_cursor": next_cursor(result.snapshot_id, result.next_position)}
