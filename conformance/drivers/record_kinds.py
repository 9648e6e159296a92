"""Good and bad records of every kind as they come from Kafka, and what must become of each."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

from k2.ingestion.registry import PackagedRegistry
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType
from k2.records.encode import RecordEncoder
from k2.records.schemas import avro_schema

ASSET_CLASS = "crypto"
RECEIVED_NS = 1_763_000_000_000_000_000
SECOND_NS, DAY_NS = 10**9, 86_400 * 10**9
COPIES = 3
# The broker takes messages of at most a million bytes, and a dead letter has headers besides.
LARGE_CHARACTERS = 900_000
_REGISTRY = PackagedRegistry()
_LONE_SURROGATE = b"\xed\xa0\x80"

_CORE: Mapping[str, Any] = {
    "session": "kinds",
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "asset_class": ASSET_CLASS,
    "event_time_ns": RECEIVED_NS,
    "receive_time_ns": RECEIVED_NS,
}
_OWN: Mapping[str, Mapping[str, Any]] = {
    "trades": {"price": "61837.63", "quantity": "0.0125", "side": "BUY"},
    "quotes": {"bid_price": "99.5", "bid_quantity": "1", "ask_price": "100.5", "ask_quantity": "2"},
    "reference_data": {
        "name": "Bitcoin / TetherUS",
        "currency": "USDT",
        "tick_size": "0.01",
        "lot_size": "0.00001",
        "listing_status": "ACTIVE",
        "valid_from_ns": RECEIVED_NS,
    },
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message.

    Attributes:
        name: of the kind.
        record_type: whose topic it is sent to.
        message: makes the value from the record's number in its session.
        reason: stage/error class under which it must be a dead letter; None for what must be a row.
        flags: that its row must have, sorted, with commas between.
        copies: how many are sent.
    """

    name: str
    record_type: RecordType
    message: Callable[[int], bytes]
    reason: str | None = None
    flags: str = ""
    copies: int = COPIES


def kinds() -> Iterator[Kind]:
    """All kinds. Trades bear what all three types have in common."""
    yield from _rows()
    yield from _rejected_by_rule()
    yield from _unreadable()


def _rows() -> Iterator[Kind]:
    for record_type in (TRADE, QUOTE, REFERENCE_DATA):
        # The numbers alone tell them apart: they are events of their own, all of them.
        yield Kind(f"equal {record_type.data_type}", record_type, _with(record_type), copies=5 * COPIES)
    yield Kind("a symbol of Arabic letters", TRADE, _with(TRADE, symbol="شركة"))
    yield Kind("a symbol with a quotation mark", TRADE, _with(TRADE, symbol="' OR 1=1 --"))
    ahead = _with(TRADE, event_time_ns=RECEIVED_NS + 6 * SECOND_NS)
    yield Kind("clocks apart", TRADE, ahead, flags="event_after_receipt")
    yield Kind("only a bid", QUOTE, _with(QUOTE, ask_price=None, ask_quantity=None))
    yield Kind("a crossed quote", QUOTE, _with(QUOTE, bid_price="101"), flags="crossed_quote")
    yield Kind("an ask of zero", QUOTE, _with(QUOTE, ask_price="0"), flags="zero_price")
    yield Kind("half an ask", QUOTE, _with(QUOTE, ask_quantity=None), flags="half_a_side")
    both = _with(QUOTE, bid_price="101", bid_quantity=None)
    yield Kind("a crossed half", QUOTE, both, flags="crossed_quote,half_a_side")


def _rejected_by_rule() -> Iterator[Kind]:
    def rejected(name: str, rule: str, record_type: RecordType = TRADE, copies: int = COPIES, **changes: Any) -> Kind:
        return Kind(name, record_type, _with(record_type, **changes), f"validate/{rule}", copies=copies)

    yield rejected("a negative price", "price_not_positive", price="-61837.63")
    yield rejected("a price of zero", "price_not_positive", price="0")
    yield rejected("a negative quantity", "quantity_not_positive", quantity="-0.0125")
    yield rejected("a negative bid", "bid_price_negative", QUOTE, bid_price="-1")
    yield rejected("a negative size of an ask", "ask_quantity_negative", QUOTE, ask_quantity="-1")
    yield rejected("a negative tick", "tick_size_not_positive", REFERENCE_DATA, tick_size="-0.01")
    in_two_days = RECEIVED_NS + 2 * DAY_NS
    for record_type in (TRADE, QUOTE, REFERENCE_DATA):
        name = record_type.data_type
        yield rejected(f"{name} of the future", "event_time_in_future", record_type, event_time_ns=in_two_days)
        yield rejected(f"{name} of an unknown exchange", "unknown_exchange", record_type, exchange="MTGOX")
    yield rejected("a time in milliseconds", "event_time_out_of_range", event_time_ns=RECEIVED_NS // 10**6)
    far_ns = 2**62 + 2**61
    yield rejected("a time in the year 2189", "event_time_out_of_range", event_time_ns=far_ns, receive_time_ns=far_ns)
    yield rejected("no symbol", "empty_symbol", symbol="")
    yield rejected("a symbol of a megabyte", "unusable_symbol", copies=1, symbol="B" * LARGE_CHARACTERS)
    yield rejected("a symbol with a NUL", "unusable_symbol", symbol="BTC\0USDT")
    yield rejected("a symbol that turns the writing", "unusable_symbol", symbol="BTC\u202eTDSU")
    yield rejected("no session", "unusable_session", session="")
    yield rejected("a number before the first", "bad_session_sequence", session_sequence=0)


def _unreadable() -> Iterator[Kind]:
    def unreadable(name: str, error_class: str, message: Callable[[int], bytes]) -> Kind:
        return Kind(name, TRADE, message, f"decode/{error_class}")

    yield unreadable("a price of 29 digits", "decimal_too_wide", lambda n: _raw(n, price=(10**28).to_bytes(12, "big")))
    yield unreadable("a price without bytes", "empty_decimal", lambda n: _raw(n, price=b""))
    yield unreadable("another record", "incompatible_schema", _with(QUOTE))
    yield unreadable("a field missing", "truncated", lambda n: _with(TRADE)(n)[:-1])
    broken = _LONE_SURROGATE + b"USDT"
    yield unreadable("a lone surrogate", "bad_utf8", lambda n: _with(TRADE)(n).replace(b"BTCUSDT", broken))


def _with(record_type: RecordType, **changes: Any) -> Callable[[int], bytes]:
    """Makes messages of a sound record with changes, each with the number it is given."""
    encoder = RecordEncoder(record_type, _REGISTRY.schema_id(ASSET_CLASS, record_type))

    def message(number: int) -> bytes:
        return encoder.encode({**_CORE, "session_sequence": number, **_OWN[record_type.data_type], **changes})

    return message


def _raw(number: int, **changed: bytes) -> bytes:
    """A trade whose decimals are these bytes, whatever they are worth."""
    schema = avro_schema(TRADE)
    fields = [
        {**field, "type": "bytes"} if field["name"] in ("price", "quantity") else field for field in schema["fields"]
    ]
    record = {**_CORE, "session_sequence": number, "side": "BUY", "price": b"\1", "quantity": b"\1", "vendor_data": {}}
    frame = bytes(1) + _REGISTRY.schema_id(ASSET_CLASS, TRADE).to_bytes(4, "big")
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema({**schema, "fields": fields}), {**record, **changed})
    return frame + body.getvalue()
