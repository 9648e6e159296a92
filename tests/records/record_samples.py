"""Records and message bodies for tests: strategies for any record type, and bodies put together field by field."""

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
from hypothesis import strategies as st

from k2.records.decode import BatchDecoder, DecodedBatch
from k2.records.definition import TRADE, Field, Kind, RecordType
from k2.records.schemas import avro_schema

SCHEMA_ID = 7
LARGEST_UNSCALED = 10**28 - 1

LONGS = st.one_of(
    st.sampled_from([0, 1, -1, 63, 64, -64, -65, 2**62, -(2**62), 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
)
DECIMALS = st.one_of(
    st.sampled_from([0, 1, -1, 127, 128, -128, -129, 2**63 - 1, 2**63, -(2**63), LARGEST_UNSCALED, -LARGEST_UNSCALED]),
    st.integers(-LARGEST_UNSCALED, LARGEST_UNSCALED),
).map(lambda unscaled: Decimal((int(unscaled < 0), tuple(int(digit) for digit in str(abs(unscaled))), -10)))
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["", "BTCUSDT", "BHP", "\x00", "é", "\U0010ffff", "x" * 300]))
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=5)

GOOD = {
    "session": "session-1",
    "session_sequence": 1,
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "asset_class": "crypto",
    "event_time_ns": 1_763_000_000_000_000_001,
    "receive_time_ns": 1_763_000_000_001_000_002,
    "source_sequence": 4_000_000_000,
    "trade_id": "4000000000",
    "price": Decimal("97123.4500000001"),
    "quantity": Decimal("0.0010000000"),
    "side": "SELL",
    "venue": None,
    "conditions": "XT",
    "vendor_data": {"buyer_maker": "true", "empty": ""},
}


def records(record_type: RecordType) -> st.SearchStrategy[dict[str, Any]]:
    """Any record that can be represented exactly."""
    return st.fixed_dictionaries({field.name: _values(field) for field in record_type.fields})


def _values(field: Field) -> st.SearchStrategy[Any]:
    kinds: Mapping[Kind, st.SearchStrategy[Any]] = {
        Kind.STRING: TEXTS,
        Kind.LONG: LONGS,
        Kind.DECIMAL: DECIMALS,
        Kind.STRING_MAP: MAPS,
        Kind.ENUM: st.sampled_from(field.symbols or ("",)),
    }
    return st.none() | kinds[field.kind] if field.nullable else kinds[field.kind]


def body(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """The Avro body as fastavro writes it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, record)
    return stream.getvalue()


def message(avro_body: bytes, schema_id: int = SCHEMA_ID) -> bytes:
    """A body behind Confluent's five bytes."""
    return b"\x00" + schema_id.to_bytes(4, "big", signed=True) + avro_body


def good(number: int) -> dict[str, Any]:
    """GOOD with an identity of its own."""
    return {**GOOD, "session_sequence": number, "symbol": f"SYMBOL-{number}", "trade_id": str(number)}


def good_message(number: int, schema_id: int = SCHEMA_ID) -> bytes:
    """The message of good(number)."""
    return message(body(avro_schema(TRADE), good(number)), schema_id)


def varint(value: int) -> bytes:
    """A long as Avro writes it; beyond 64 bits too, as no writer should."""
    number = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sized(raw: bytes) -> bytes:
    """Bytes or a string behind their length."""
    return varint(len(raw)) + raw


def trade_body(**raw: bytes) -> bytes:
    """GOOD's body, with the encoded bytes of the fields given replaced."""
    parts = []
    for field in avro_schema(TRADE)["fields"]:
        name = field["name"]
        single = {"type": "record", "name": "One", "fields": [field]}
        parts.append(raw.get(name, body(single, {name: GOOD[name]})))
    return b"".join(parts)


def decode(messages: Sequence[bytes | None], record_type: RecordType = TRADE) -> DecodedBatch:
    """Decode with the record type's own schema as SCHEMA_ID; the columns are proven sound by Arrow itself."""
    return checked(BatchDecoder(record_type, {SCHEMA_ID: avro_schema(record_type)}).decode(messages))


def checked(batch: DecodedBatch) -> DecodedBatch:
    """The batch, after Arrow has validated every value in it."""
    batch.columns.validate(full=True)
    return batch


def rows(columns: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as records, maps as dicts."""
    return [
        {name: dict(value) if isinstance(value, list) else value for name, value in row.items()}
        for row in columns.to_pylist()
    ]
