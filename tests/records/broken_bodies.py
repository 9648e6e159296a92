"""Bodies damaged in every way a byte can be, and what an independent judge says of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fastavro
from hypothesis import strategies as st

from k2.records.decode import BatchDecoder
from k2.records.definition import QUOTE, TRADE, RecordType
from k2.records.schemas import avro_schema
from tests.records.avro_judge import Bad, fastavro_agrees, judge
from tests.records.record_samples import GOOD, SCHEMA_ID, body, message, rows, varint

# Bytes with a meaning somewhere in Avro: the ends of varints, block counts, lengths, and broken UTF-8.
TELLING_BYTES = [
    b"\x00", b"\x01", b"\x02", b"\x03", b"\x7f", b"\x80", b"\xff", b"\x80\x00", b"\xc3", b"\xed\xa0\x80",
    b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x02", b"\xfe" * 9 + b"\x01", b"\x80" * 11,
    varint(-1), varint(-2), varint(2**31), varint(2**63 - 1), varint(-(2**63)),
]  # fmt: skip

# Every type a field we have no column for may have, between fields we do have.
STRANGE_FIELDS = [
    {"name": "is_block", "type": "boolean"},
    {"name": "lots", "type": "int"},
    {"name": "spread", "type": "float"},
    {"name": "yield", "type": "double"},
    {"name": "signature", "type": "bytes"},
    {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 5}},
    {"name": "phase", "type": {"type": "enum", "name": "Phase", "symbols": ["OPEN", "CLOSE"]}},
    {"name": "parties", "type": {"type": "array", "items": {
        "type": "record", "name": "Party", "fields": [
            {"name": "name", "type": "string"}, {"name": "shares", "type": {"type": "array", "items": "long"}}]}}},
    {"name": "fees", "type": {"type": "map", "values": ["null", "double", {"type": "map", "values": "string"}]}},
    {"name": "note", "type": ["null", "string", "long", "k2.v2.Phase"]},
    {"name": "other_party", "type": "k2.v2.Party"},
]  # fmt: skip
STRANGE_VALUES = {
    "is_block": True,
    "lots": -5,
    "spread": 0.5,
    "yield": 0.25,
    "signature": b"\x00\x01",
    "digest": b"12345",
    "phase": "CLOSE",
    "parties": [{"name": "A", "shares": [1, 2]}, {"name": "é", "shares": []}],
    "fees": {"a": None, "b": 1.5, "c": {"k": "v"}},
    "note": "text",
    "other_party": {"name": "B", "shares": [3]},
}


def strange_schema() -> dict[str, Any]:
    """The trade's schema with STRANGE_FIELDS between its fields."""
    known = avro_schema(TRADE)["fields"]
    mixed = [field for pair in zip(known, STRANGE_FIELDS, strict=False) for field in pair]
    return {**avro_schema(TRADE), "fields": mixed + known[len(STRANGE_FIELDS) :]}


QUOTE_RECORD = {
    name: value for name, value in GOOD.items() if name not in ("trade_id", "price", "quantity", "side")
} | {
    "quote_id": "9",
    "bid_price": GOOD["price"],
    "bid_quantity": GOOD["quantity"],
    "ask_price": -GOOD["price"],
    "ask_quantity": None,
}
SUBJECTS: Mapping[str, tuple[RecordType, dict[str, Any], dict[str, Any]]] = {
    "trades": (TRADE, avro_schema(TRADE), GOOD),
    "quotes": (QUOTE, avro_schema(QUOTE), QUOTE_RECORD),
    "a writer of strange fields": (TRADE, strange_schema(), GOOD | STRANGE_VALUES),
}


def damage(raw: bytes, number: Callable[[int, int], int], choice: Callable[[Sequence[bytes]], bytes]) -> bytes:
    """One flip, cut, insertion, overwriting or splice; `number` draws from a range, both ends included."""
    at = number(0, len(raw))
    until = number(at, min(len(raw), at + 12))
    match number(0, 4):
        case 0:
            flipped = bytes([raw[at] ^ (1 << number(0, 7))]) if at < len(raw) else b""
            return raw[:at] + flipped + raw[at + 1 :]
        case 1:
            return raw[:at] + raw[until:]
        case 2:
            return raw[:at] + choice(TELLING_BYTES) + raw[at:]
        case 3:
            telling = choice(TELLING_BYTES)
            return raw[:at] + telling + raw[at + len(telling) :]
        case _:
            return raw[:until] + raw[at:]


@st.composite
def damaged(draw: Any, raw: bytes) -> bytes:
    """A body after none to three damages, chosen by Hypothesis so that it can shrink them."""
    for _ in range(draw(st.integers(0, 3))):
        raw = damage(raw, lambda low, high: draw(st.integers(low, high)), lambda them: draw(st.sampled_from(them)))
    return raw


def damaged_at_random(raw: bytes, chance: random.Random) -> bytes:
    """The same, drawn from a random source: thousands a second."""
    for _ in range(chance.randint(0, 3)):
        raw = damage(raw, chance.randint, chance.choice)
    return raw


def assert_judged_rightly(record_type: RecordType, schema: Mapping[str, Any], bodies: Sequence[bytes]) -> None:
    """Decode the bodies as one batch; each must fare as the judge, and fastavro, say."""
    batch = BatchDecoder(record_type, {SCHEMA_ID: schema}).decode([message(raw) for raw in bodies])
    batch.columns.validate(full=True)
    parsed = fastavro.parse_schema(dict(schema))
    names = [field.name for field in record_type.fields]
    good, bad = {}, {}
    for index, raw in enumerate(bodies):
        verdict = judge(schema_without_names(schema), raw)
        assert fastavro_agrees(parsed, raw, verdict), (raw, verdict)
        if isinstance(verdict, Bad):
            bad[index] = verdict.reason
        else:
            good[index] = {name: dict(value) if isinstance(value := verdict[name], list) else value for name in names}
    assert {reject.index: reject.reason for reject in batch.rejects} == bad
    assert dict(zip(batch.rows.tolist(), rows(batch.columns), strict=True)) == good


def schema_without_names(schema: Mapping[str, Any]) -> dict[str, Any]:
    """References replaced by what they name, which is all the judge understands."""
    named = {
        f"k2.v2.{kind['name']}": kind
        for field in STRANGE_FIELDS
        for kind in (field["type"], field["type"].get("items", {}) if isinstance(field["type"], dict) else {})
        if isinstance(kind, dict) and "name" in kind
    }

    def resolved(kind: Any) -> Any:
        if isinstance(kind, list):
            return [resolved(branch) for branch in kind]
        return named.get(kind, kind) if isinstance(kind, str) else kind

    return {**schema, "fields": [{**field, "type": resolved(field["type"])} for field in schema["fields"]]}


def body_of(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """A sound body of a subject."""
    return body(fastavro.parse_schema(dict(schema)), record)
