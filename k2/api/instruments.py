"""What the tables hold and what they miss: /v1/symbols and /v1/gaps."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from k2.api.context import ApiContext
from k2.api.documentation import GAP_RESPONSES, SYMBOL_RESPONSES
from k2.api.envelope import success_response
from k2.api.parameters import GapParameters, SymbolParameters
from k2.api.rendering import render_rows


def create_instruments_router(context: ApiContext) -> APIRouter:
    """The routes on instruments. Their handlers block, so the framework runs them in threads."""
    router = APIRouter(tags=["instruments"])

    @router.get("/v1/symbols", summary="Instruments a table holds", responses=SYMBOL_RESPONSES)
    def get_symbols(request: Request, parameters: Annotated[SymbolParameters, Query()]) -> Response:
        context.shedding.listing()
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

    @router.get("/v1/gaps", summary="Sequence numbers that are missing", responses=GAP_RESPONSES)
    def get_gaps(request: Request, parameters: Annotated[GapParameters, Query()]) -> Response:
        context.shedding.listing()
        gaps = context.engine.open_gaps(parameters.data_type, exchange=parameters.exchange, symbol=parameters.symbol)
        return success_response(request, [asdict(gap) for gap in gaps], {"count": len(gaps)})

    return router
