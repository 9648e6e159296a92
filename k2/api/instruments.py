"""What the tables hold and what they miss: /v1/symbols, /v1/gaps and /v1/snapshots."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from k2.api.context import ApiContext
from k2.api.documentation import GAP_RESPONSES, SNAPSHOT_RESPONSES, SYMBOL_RESPONSES
from k2.api.envelope import success_response
from k2.api.parameters import GapParameters, SnapshotParameters, SymbolParameters
from k2.api.rendering import render_rows
from k2.api.request_threads import CheckWanted


def create_instruments_router(context: ApiContext) -> APIRouter:
    """The routes on instruments and on the tables' states."""
    router = APIRouter(tags=["instruments"])

    @router.get("/v1/symbols", summary="Instruments a table holds", responses=SYMBOL_RESPONSES)
    async def get_symbols(request: Request, parameters: Annotated[SymbolParameters, Query()]) -> Response:
        context.shedding.listing()

        def work(_: CheckWanted) -> Response:
            result = context.engine.get_symbols(
                parameters.data_type,
                parameters.exchange,
                time_limit_seconds=context.settings.time_limit_seconds,
                pool_wait_seconds=context.settings.pool_wait_seconds,
            )
            meta = {
                "snapshot_id": result.snapshot_id,
                "snapshot_time_ms": result.snapshot_time_ms,
                "count": result.rows.num_rows,
            }
            return success_response(request, render_rows(result.rows), meta)

        return await context.answer(work)

    @router.get("/v1/gaps", summary="Sequence numbers that are missing", responses=GAP_RESPONSES)
    async def get_gaps(request: Request, parameters: Annotated[GapParameters, Query()]) -> Response:
        context.shedding.listing()

        def work(_: CheckWanted) -> Response:
            gaps = context.engine.open_gaps(
                parameters.data_type, exchange=parameters.exchange, symbol=parameters.symbol
            )
            return success_response(request, [asdict(gap) for gap in gaps], {"count": len(gaps)})

        return await context.answer(work)

    @router.get("/v1/snapshots", summary="States of a table, the newest first", responses=SNAPSHOT_RESPONSES)
    async def get_snapshots(request: Request, parameters: Annotated[SnapshotParameters, Query()]) -> Response:
        context.shedding.listing()

        def work(_: CheckWanted) -> Response:
            snapshots = context.engine.snapshots(parameters.data_type)
            newest_first = snapshots[: -parameters.limit - 1 : -1]
            meta = {"count": len(newest_first), "total": len(snapshots)}
            return success_response(request, [asdict(snapshot) for snapshot in newest_first], meta)

        return await context.answer(work)

    return router
