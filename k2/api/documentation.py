"""What the OpenAPI document shows of the answers: shapes and examples."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]

_REQUEST_ID = "5b1c0c0e7e9a4d55a7c9f3a4de0b1f6a"
_CURSOR = "WzcxNjIzNTcxMTI5ODMsMTc5NTI1NDMwMDEyMzQ1Njc4OSwwLDQxLCJtYXJrZXQuY3J5cHRvLnRyYWRlcyIsInMtMSJd"


class ErrorDetail(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="For programs.", examples=["INVALID_PARAMETER"])
    message: str = Field(description="For people.", examples=["limit: Input should be less than or equal to 10000"])
    request_id: str = Field(description="Also in the X-Request-Id header and in the log.", examples=[_REQUEST_ID])


class ErrorEnvelope(BaseModel):
    """Body of every answer with a status of 400 or above."""

    success: bool = Field(examples=[False])
    error: ErrorDetail


def _error(description: str, code: str, message: str, **details: object) -> dict[str, Any]:
    error = {"code": code, "message": message, "request_id": _REQUEST_ID, **details}
    return {
        "model": ErrorEnvelope,
        "description": description,
        "content": {"application/json": {"example": {"success": False, "error": error}}},
    }


def _success(description: str, data: list[Any], meta: dict[str, Any]) -> dict[str, Any]:
    example = {"success": True, "data": data, "meta": {**meta, "request_id": _REQUEST_ID}}
    return {"description": description, "content": {"application/json": {"example": example}}}


_INVALID = _error(
    "A parameter cannot be used.",
    "INVALID_PARAMETER",
    "limit: Input should be less than or equal to 10000",
    parameter="limit",
    details=[{"parameter": "limit", "message": "Input should be less than or equal to 10000"}],
)
_UNAVAILABLE = _error(
    "No connection became free in time (POOL_EXHAUSTED), the tables cannot be read (UNAVAILABLE), or the service sheds "
    "such requests at its present level, see X-Degradation-Level (SHED). Retry-After says when to ask again.",
    "POOL_EXHAUSTED",
    "every query connection is busy",
)
_TIMEOUT = _error(
    "The query was stopped at the time limit.",
    "QUERY_TIMEOUT",
    "the trades query was stopped at its limit of 30 s; ask for one symbol, a shorter time range or fewer rows",
    limit_seconds=30.0,
)
_TOO_LARGE = _error(
    "The body is over the limit.",
    "PAYLOAD_TOO_LARGE",
    "the body is over the limit of 10485760 bytes; send it in smaller requests",
    size_mb=10.000001,
    limit_mb=10.0,
)
_INTERNAL = _error("The request failed inside.", "INTERNAL_ERROR", "the request failed; the log has the reason")
_QUERY_ERRORS: Responses = {422: _INVALID, 500: _INTERNAL, 503: _UNAVAILABLE, 504: _TIMEOUT}

_PLACE = {
    "topic": "market.crypto.trades",
    "kafka_partition": 0,
    "kafka_offset": 41,
    "schema_id": 1,
    "event_time": "2026-11-21T09:45:00.123456Z",
    "receive_time": "2026-11-21T09:45:00.125000Z",
    "sequence_event": "IN_ORDER",
    "quality_flags": 0,
}
_CORE = {
    "session": "s-1",
    "session_sequence": 42,
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "asset_class": "crypto",
    "event_time_ns": 1795254300123456789,
    "receive_time_ns": 1795254300125000000,
    "source_sequence": 5500042,
}
# Without nulls: the framework leaves them out of examples.
_VENUE = {"venue": "SPOT", "conditions": "REGULAR", "vendor_data": {"buyer_is_maker": "false"}}
_TRADE = {
    **_CORE,
    "trade_id": "5500042",
    "price": "61837.63",
    "quantity": "0.0125",
    "side": "BUY",
    **_VENUE,
    **_PLACE,
}
_QUOTE = {
    **_CORE,
    "quote_id": "991",
    "bid_price": "61837.62",
    "bid_quantity": "1.5",
    "ask_price": "61837.63",
    "ask_quantity": "0.75",
    **_VENUE,
    **_PLACE,
    "topic": "market.crypto.quotes",
}
_REFERENCE = {
    **_CORE,
    "name": "BHP Group Limited",
    "isin": "AU000000BHP4",
    "currency": "AUD",
    "tick_size": "0.01",
    "lot_size": "1",
    "listing_status": "ACTIVE",
    "listed_at_ns": -2650924800000000000,
    "valid_from_ns": 1795219200000000000,
    "venue": "ASX",
    "vendor_data": {"gics_industry_group": "Materials"},
    **_PLACE,
    "exchange": "ASX",
    "symbol": "BHP",
    "asset_class": "equities",
    "topic": "market.equities.reference_data",
    "schema_id": 5,
}
_SNAPSHOT = {"snapshot_id": 7162357112983, "snapshot_time_ms": 1795254301000}

TRADE_RESPONSES: Responses = {
    200: _success("A page of trades.", [_TRADE], {**_SNAPSHOT, "count": 1, "next_cursor": _CURSOR}),
    **_QUERY_ERRORS,
}
QUOTE_RESPONSES: Responses = {
    200: _success("A page of quotes.", [_QUOTE], {**_SNAPSHOT, "count": 1, "next_cursor": _CURSOR}),
    **_QUERY_ERRORS,
}
REFERENCE_RESPONSES: Responses = {
    200: _success("A page of reference data.", [_REFERENCE], {**_SNAPSHOT, "count": 1, "next_cursor": _CURSOR}),
    **_QUERY_ERRORS,
}
BULK_RESPONSES: Responses = {
    200: _success(
        "One entry a query, in their order.",
        [{"rows": [_TRADE], "meta": {"count": 1, "next_cursor": _CURSOR}}],
        {**_SNAPSHOT, "count": 1},
    ),
    413: _TOO_LARGE,
    **_QUERY_ERRORS,
}
SYMBOL_RESPONSES: Responses = {
    200: _success(
        "Instruments, ordered.",
        [{"exchange": "BINANCE", "asset_class": "crypto", "symbol": "BTCUSDT"}],
        {**_SNAPSHOT, "count": 1},
    ),
    **_QUERY_ERRORS,
}
GAP_RESPONSES: Responses = {
    200: _success(
        "Missing ranges, both ends included.",
        [
            {
                "exchange": "BINANCE",
                "symbol": "BTCUSDT",
                "first_missing": 5500043,
                "last_missing": 5500047,
                "tracker": "source",
            }
        ],
        {"count": 1},
    ),
    422: _INVALID,
    500: _INTERNAL,
    503: _UNAVAILABLE,
}
_HEALTH = {
    "live": True,
    "degradation_level": "DEGRADED",
    "degradation_reasons": ["pool_busy_share is 1: DEGRADED from 1 on, until 0.7"],
}
_FRESHNESS = {
    "limit_seconds": 300.0,
    "tables": {
        "trades": {
            "BINANCE": {
                "status": "stale",
                "silence_seconds": 412.0,
                "age_seconds": 412.2,
                "newest_event_time_ns": _CORE["event_time_ns"],
                "newest_receive_time_ns": _CORE["receive_time_ns"],
            }
        },
        "quotes": {"BINANCE": {"status": "never"}},
    },
}
HEALTH_RESPONSES: Responses = {
    200: {
        "description": "Ready. Stale: an exchange's rows have stopped coming; what is answered is right, but not new.",
        "content": {
            "application/json": {
                "example": {
                    "status": "stale",
                    **_HEALTH,
                    "ready": True,
                    "checks": {"catalog": "ok", "freshness": "trades of BINANCE: no row for 412 s"},
                    "freshness": _FRESHNESS,
                }
            }
        },
    },
    503: {
        "model": ErrorEnvelope,
        "description": "Alive, but the tables cannot be read, or the level is SHUTDOWN.",
        "content": {
            "application/json": {
                "example": {
                    "status": "unavailable",
                    **_HEALTH,
                    "ready": False,
                    "checks": {"catalog": "it cannot be read"},
                    "success": False,
                    "error": {
                        "code": "NOT_READY",
                        "message": "the catalog: it cannot be read",
                        "request_id": _REQUEST_ID,
                    },
                }
            }
        },
    },
}
METRICS_RESPONSES: Responses = {
    200: {
        "description": "All metrics.",
        "content": {"text/plain": {"example": "k2_connection_pool_size 5.0\n"}},
    }
}
