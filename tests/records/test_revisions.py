"""A definition grows by revisions: what was written under an earlier one is read under a later one, and the reverse."""

import hashlib
import io
from dataclasses import replace
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.records.decode import BatchDecoder
from k2.records.definition import RECORD_TYPES, TRADE, Field, Kind, RecordType
from k2.records.encode import RecordEncoder
from k2.records.schemas import arrow_schema, avro_schema, table_schema
from tests.records.record_samples import GOOD, checked, records, rows

TAPE = Field(50, "tape", Kind.STRING, "Tape of the trade.", nullable=True, since=2)
FEE = Field(51, "fee", Kind.DECIMAL, "Fee of the venue.", nullable=True, since=3)
# Not at the end: fields are matched by name.
GROWN = replace(TRADE, fields=(*TRADE.fields[:9], TAPE, *TRADE.fields[9:], FEE))
SECOND = GROWN.at_revision(2)
NEW_VALUES = {"tape": "A", "fee": Decimal("0.2500000000")}
SCHEMAS = {1: avro_schema(TRADE), 2: avro_schema(SECOND), 3: avro_schema(GROWN)}
# Of the canonical form, which leaves out what no reader needs. An id is never given to another schema.
FINGERPRINTS = {
    "trades": "4e67013488a494d2",
    "quotes": "54e636d4d1bdfada",
    "reference_data": "8f59d081d33bba61",
}


def encoded(record_type: RecordType, schema_id: int, record: dict[str, Any]) -> bytes:
    names = {field.name for field in record_type.fields}
    return RecordEncoder(record_type, schema_id).encode({name: record[name] for name in record if name in names})


def decoded(record_type: RecordType, *messages: bytes) -> list[dict[str, Any]]:
    batch = checked(BatchDecoder(record_type, SCHEMAS).decode(messages))
    assert batch.rejects == ()
    return rows(batch.columns)


def test_a_record_type_as_it_was_has_only_the_fields_of_then() -> None:
    assert (TRADE.revision, SECOND.revision, GROWN.revision) == (1, 2, 3)
    assert GROWN.at_revision(1) == TRADE
    assert [field.name for field in SECOND.fields if field not in TRADE.fields] == ["tape"]
    assert GROWN.at_revision(3) == GROWN


def test_messages_of_all_revisions_in_one_batch_are_read_by_the_latest() -> None:
    record = {**GOOD, **NEW_VALUES}
    first, second, third = (encoded(kind, number, record) for number, kind in enumerate((TRADE, SECOND, GROWN), 1))
    found = decoded(GROWN, third, first, second, first)
    assert [(row["tape"], row["fee"]) for row in found] == [
        ("A", NEW_VALUES["fee"]),
        (None, None),
        ("A", None),
        (None, None),
    ]
    for row in found:
        assert {name: row[name] for name in GOOD} == GOOD


def test_the_earlier_version_reads_later_messages_without_what_it_does_not_know() -> None:
    record = {**GOOD, **NEW_VALUES}
    assert (
        decoded(TRADE, encoded(GROWN, 3, record), encoded(SECOND, 2, record), encoded(TRADE, 1, record)) == [GOOD] * 3
    )
    assert decoded(SECOND, encoded(GROWN, 3, record)) == [{**GOOD, "tape": "A"}]


@settings(max_examples=60, deadline=None)
@given(records(GROWN), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))
def test_any_record_is_read_across_revisions_as_avro_resolves_it(
    record: dict[str, Any], written: int, read: int
) -> None:
    writer, reader = GROWN.at_revision(written), GROWN.at_revision(read)
    message = encoded(writer, written, record)
    expected = fastavro.schemaless_reader(io.BytesIO(message[5:]), SCHEMAS[written], SCHEMAS[read])
    assert decoded(reader, message) == [expected]


def test_the_columns_of_a_later_revision_have_ids_of_their_own() -> None:
    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in table_schema(GROWN)}
    assert (ids["tape"], ids["fee"]) == (50, 51)
    assert {name: ids[name] for name in table_schema(TRADE).names} == {
        field.name: int(field.metadata[b"PARQUET:field_id"]) for field in table_schema(TRADE)
    }
    assert arrow_schema(GROWN).field("tape").nullable


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
def test_what_a_later_revision_brings_may_be_null(record_type: RecordType) -> None:
    assert record_type.revision >= 1
    assert [field.name for field in record_type.fields if field.since > 1 and not field.nullable] == []
    assert {field.since for field in record_type.fields} == set(range(1, record_type.revision + 1))


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
def test_the_first_revision_is_the_one_that_lies_in_logs(record_type: RecordType) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(avro_schema(record_type.at_revision(1)))
    assert hashlib.sha256(canonical.encode()).hexdigest()[:16] == FINGERPRINTS[record_type.data_type]
