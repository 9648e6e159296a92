"""The declared contracts and K2's own rules agree, row by row and rule by rule, on whatever they are given."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.records.definition import EXCHANGES, RECORD_TYPES, Field, Kind, RecordType
from k2.records.schemas import arrow_schema
from k2.records.validation import (
    CLOCKS_APART_NS,
    EARLIEST_TIME_NS,
    LATEST_EVENT_AFTER_RECEIPT_NS,
    LATEST_TIME_NS,
    MAXIMUM_NAME_CHARACTERS,
    rules_for,
)

contracts = pytest.importorskip("conformance.contracts", reason="pandera is not installed")

TIME_NS = 1_763_000_000_000_000_000
BOUNDS_NS = (EARLIEST_TIME_NS, LATEST_TIME_NS, TIME_NS, TIME_NS + CLOCKS_APART_NS, 0, 2**63 - 1, -(2**63))
TIMES = st.one_of(
    st.builds(
        lambda bound, by: max(-(2**63), min(2**63 - 1, bound + by)), st.sampled_from(BOUNDS_NS), st.integers(-2, 2)
    ),
    st.builds(
        lambda by: TIME_NS + by, st.sampled_from([LATEST_EVENT_AFTER_RECEIPT_NS, LATEST_EVENT_AFTER_RECEIPT_NS + 1])
    ),
    st.integers(-(2**63), 2**63 - 1),
)
TICK = Decimal("0.0000000001")
NUMBERS = st.one_of(
    st.sampled_from([Decimal(0), TICK, -TICK, Decimal(1), Decimal(-1), Decimal("999999999999999999.9999999999")]),
    st.decimals(-1000, 1000, places=10),
)
NAMES = st.one_of(
    st.sampled_from(["", "BTCUSDT", "x" * MAXIMUM_NAME_CHARACTERS, "x" * (MAXIMUM_NAME_CHARACTERS + 1), "\n", "a\0b"]),
    st.sampled_from(["\u202e", "\u200d", "\u2028", "\ufeff", "é" * MAXIMUM_NAME_CHARACTERS, "\U0001f600" * 129, "a\n"]),
    st.text(max_size=12),
)
TEXT_FIELDS = {"exchange": st.one_of(st.sampled_from([*EXCHANGES, "", "binance"]), st.text(max_size=4))}


def values(field: Field) -> st.SearchStrategy[Any]:
    """Values of a field, more of them near the rules than elsewhere."""
    chosen: st.SearchStrategy[Any]
    match field.kind:
        case Kind.DECIMAL:
            chosen = NUMBERS
        case Kind.LONG:
            chosen = TIMES if field.name.endswith("_ns") else st.one_of(st.integers(-2, 2), TIMES)
        case Kind.ENUM:
            chosen = st.sampled_from(field.symbols)
        case Kind.STRING_MAP:
            chosen = st.just([])
        case Kind.STRING:
            chosen = TEXT_FIELDS.get(field.name, NAMES)
    return st.none() | chosen if field.nullable else chosen


def rows_of(record_type: RecordType) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries({field.name: values(field) for field in record_type.fields}), max_size=40)


def by_rules(record_type: RecordType, batch: pa.RecordBatch) -> dict[str, set[int]]:
    """What K2's own rules say."""
    masks = {rule.name: rule.broken(batch).nonzero()[0].tolist() for rule in rules_for(record_type)}
    return {name: set(rows) for name, rows in masks.items() if rows}


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
class TestOneRecordType:
    @settings(max_examples=20, deadline=None)
    @given(data=st.data())
    def test_contract_and_rules_agree_on_every_row(self, record_type: RecordType, data: st.DataObject) -> None:
        rows = data.draw(rows_of(record_type))
        batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(record_type))
        found = contracts.broken_rules(record_type.data_type, pa.Table.from_batches([batch]))
        assert found == by_rules(record_type, batch)

    def test_a_contract_has_the_rules_and_no_others(self, record_type: RecordType) -> None:
        checks = [check.name for check in contracts.contract(record_type.data_type).checks]
        assert sorted(checks) == sorted(rule.name for rule in rules_for(record_type))

    def test_other_exchanges_may_be_known(self, record_type: RecordType) -> None:
        schema = arrow_schema(record_type)
        row = {field.name: None if field.nullable else _sound(field) for field in record_type.fields}
        batch = pa.RecordBatch.from_pylist([{**row, "exchange": "MTGOX"}, row], schema=schema)
        table = pa.Table.from_batches([batch])
        assert contracts.broken_rules(record_type.data_type, table) == {"unknown_exchange": {0}}
        assert contracts.broken_rules(record_type.data_type, table, ["MTGOX"]) == {"unknown_exchange": {1}}


def _sound(field: Field) -> Any:
    named = {"exchange": "ASX", "vendor_data": []}
    kinds = {Kind.DECIMAL: Decimal(1), Kind.LONG: TIME_NS, Kind.STRING: "BHP"}
    return field.symbols[0] if field.symbols else named.get(field.name, kinds.get(field.kind))


def test_an_empty_table_breaks_nothing() -> None:
    for record_type in RECORD_TYPES.values():
        assert contracts.broken_rules(record_type.data_type, arrow_schema(record_type).empty_table()) == {}
