"""Examples of what is answered, for the OpenAPI document and the documentation page."""

from typing import Any

REQUEST_ID = "5b1c0c0e7e9a4d55a7c9f3a4de0b1f6a"
CURSOR = "WzcxNjIzNTcxMTI5ODMsMTc5NTI1NDMwMDEyMzQ1Njc4OSwwLDQxLCJtYXJrZXQuY3J5cHRvLnRyYWRlcyIsInMtMSJd"

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
TRADE = {
    **_CORE,
    "trade_id": "5500042",
    "price": "61837.63",
    "quantity": "0.0125",
    "side": "BUY",
    **_VENUE,
    **_PLACE,
}
QUOTE = {
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
REFERENCE = {
    **_CORE,
    "name": "BHP Group Limited",
    "isin": "AU000000BHP4",
    "currency": "AUD",
    "tick_size": "0.01",
    "lot_size": "1",
    "listing_status": "ACTIVE",
    "listed_at_ns": -2650924800000000000,
    "delisted_at_ns": 1893456000000000000,
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
SNAPSHOT = {"snapshot_id": 7162357112983, "snapshot_time_ms": 1795254301000}
SYMBOL = {"exchange": "BINANCE", "asset_class": "crypto", "symbol": "BTCUSDT"}
GAP = {
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "first_missing": 5500043,
    "last_missing": 5500047,
    "tracker": "source",
}
TABLE_SNAPSHOT = {
    "snapshot_id": 7162357112983,
    "parent_id": 7162357112001,
    "sequence_number": 12,
    "committed_time_ms": 1795254301000,
    "operation": "append",
    "added_records": 100000,
    "total_records": 1200000,
    "is_current": True,
}
HEALTH: dict[str, Any] = {
    "live": True,
    "degradation_level": "DEGRADED",
    "degradation_reasons": ["pool_busy_share is 1: DEGRADED from 1 on, until 0.7"],
}
FRESHNESS: dict[str, Any] = {
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
