"""What becomes of records: each is a row, a flagged row or a dead letter, and the sums are right.

Every batch MUST be validated before it is written. What breaks a rule MUST be classified, counted under its own reason
and dead-lettered or flagged; nothing may be dropped in silence (REC-3). Reference data MUST travel like trades and
quotes (REC-1), and everything a feed gives MUST come back as it was (REC-2).
"""

import itertools
from collections.abc import Mapping

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.exact_records import answered_rows, exact_records, fields_of, stored_rows
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, latest, wait_until_drained
from conformance.drivers.http import all_pages
from conformance.drivers.later_version import (
    LATER_TAPE,
    LaterProducer,
    column_id,
    count_dead_letters,
    ends_of,
    start_later_consumer,
    tapes,
)
from conformance.drivers.record_fates import KindSender, observe_counts, observe_fates
from conformance.drivers.record_kinds import kinds
from conformance.drivers.registered import registry_server
from conformance.drivers.registration import compatibility, is_schema_of, register_all, status_of_incompatible, subjects
from conformance.drivers.schema_forms import disagreements
from conformance.drivers.silence import METRICS, metrics_url
from conformance.stacks.base import Stack
from conformance.stacks.later_version import TAPE
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES, RecordType
from k2.records.schemas import avro_schema

FLAG_BITS: Mapping[str, int] = {
    "late": 1,
    "crossed_quote": 2,
    "unknown_whether_seen": 4,
    "event_after_receipt": 8,
    "zero_price": 16,
    "half_a_side": 32,
}
PART = 300
DATA_TYPES = ("trades", "quotes", "reference_data")


@pytest.mark.clause(
    name="records/fates",
    claims=("REC-3a", "REC-3b"),
    checker="fates",
    title="Records of every kind become the row, flagged row or dead letter of their kind, are counted so, and add up",
    minimum_samples=100,
    remedy="see k2/records/validation.py and k2/records/decode.py, and docs/records.md for what is what",
)
def test_every_message_has_the_fate_of_its_kind(stack: Stack, clause: ClauseRun) -> None:
    planned = list(kinds())
    with clause.history(flag_bits=FLAG_BITS, required_kinds=[kind.name for kind in planned]) as history:
        sender = KindSender(stack)
        sender.send(planned)
        urls = {
            data_type: metrics_url(stack.start_consumer(data_type, environment=METRICS)) for data_type in DATA_TYPES
        }
        wait_until_drained(stack, history, sender.ends())
        topics = sender.table()["topic"].to_pylist()
        for data_type, url in urls.items():
            observe_counts(history, data_type, url, sum(name.endswith(f".{data_type}") for name in topics))
        observe_fates(history, stack, sender)
    clause.judge()


@pytest.mark.clause(
    name="records/exact",
    claims=("REC-1b", "REC-2a", "REC-2b", "REC-2c", "ICE-1c"),
    checker="facts",
    title="Every field of trades, quotes and reference data is in the table and in the answer as it was fed",
    minimum_samples=72,
    remedy="see k2/records/encode.py and decode.py for the way in, k2/query/engine.py and k2/api/rendering.py for out",
)
def test_every_field_comes_back_as_it_was_fed(stack: Stack, clause: ClauseRun) -> None:
    planned = list(exact_records("exact"))
    with clause.history() as history:
        for data_type in DATA_TYPES:
            stack.start_consumer(data_type)
        fed = feed_records(stack, (record.fed for record in planned))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        api_url = stack.start_api()
        for data_type in DATA_TYPES:
            for place, rows in (
                ("table", stored_rows(stack, data_type)),
                ("answer", answered_rows(api_url, data_type)),
            ):
                of_type = [record for record in planned if record.fed.data_type == data_type]
                record_fact(history, f"{data_type} in the {place}", len(of_type), lambda found=rows: len(found))
                for record in of_type:
                    number = record.shown["session_sequence"]
                    name = f"{data_type} {number} in the {place}"
                    record_fact(history, name, record.shown, fields_of, rows, number, record.shown)
    clause.judge()


@pytest.mark.clause(
    name="records/schemas",
    claims=("REC-1a", "REC-1b"),
    checker="facts",
    title="Avro, Arrow and table schemas of the three record types agree in names, types and nullability",
    minimum_samples=9,
    remedy="see k2/records/schemas.py, where all three are derived from k2/records/definition.py",
)
def test_the_forms_of_a_definition_agree(stack: Stack, clause: ClauseRun) -> None:
    with clause.history() as history:
        for record_type in RECORD_TYPES.values():
            name = record_type.data_type
            record_fact(history, f"{name}: disagreements", [], disagreements, stack, record_type)
            record_fact(history, f"{name}: table", f"market_data.{name}_v2", lambda kind=record_type: kind.table)
            has_vendor_data = [True, True]
            record_fact(history, f"{name}: core and vendor_data", has_vendor_data, core_and_vendor_data, record_type)
    clause.judge()


def core_and_vendor_data(record_type: RecordType) -> list[bool]:
    """Whether a record type has the core fields, and a map for what only a vendor sends."""
    fields = {field["name"]: field["type"] for field in avro_schema(record_type)["fields"]}
    core = {"exchange", "symbol", "asset_class", "event_time_ns", "receive_time_ns", "source_sequence"}
    return [core <= fields.keys(), fields["vendor_data"] == {"type": "map", "values": "string"}]


@pytest.mark.clause(
    name="records/evolution",
    claims=("ICE-1b",),
    checker="facts",
    title="A version with one more field takes over a table with rows: old and new rows are read by old and new code",
    minimum_samples=8,
    remedy="see k2/storage/evolution.py and k2/records/avro_program.py",
)
def test_a_later_version_takes_over_a_table_with_rows(stack: Stack, clause: ClauseRun) -> None:
    settings = SyntheticSettings(
        seed=7, records=3 * PART, trade_share=1.0, duplicate_rate=0, gap_rate=0, reorder_rate=0
    )
    records = iter(SyntheticExchange(settings))
    with clause.history(seed=settings.seed) as history:
        earlier = stack.start_consumer("trades")
        first = feed_records(stack, itertools.islice(records, PART)).acknowledged_ends()
        wait_until_drained(stack, history, first)
        before = tapes(stack)
        record_fact(history, "exit status of the earlier version", 0, earlier.stop)
        # Two thirds of the log are of the earlier version, half of that not taken in yet.
        waiting = feed_records(stack, itertools.islice(records, PART)).acknowledged_ends()
        with LaterProducer(stack) as producer:
            for record in records:
                producer.send(record)
        later = start_later_consumer(stack)
        try:
            wait_until_drained(stack, history, latest(waiting, ends_of(producer.places())))
            expected = {**dict.fromkeys(map(str, before)), **dict.fromkeys(map(str, producer.places()), LATER_TAPE)}
            after = {str(place): tape for place, tape in tapes(stack).items()}
            record_fact(history, "rows of the first version", PART, lambda: len(before))
            record_fact(history, "rows in all", 3 * PART, lambda: len(after))
            differing = {place: tape for place, tape in expected.items() if after.get(place, "no row") != tape}
            record_fact(history, "rows without the tape they must have", {}, lambda: differing, samples=len(expected))
            without = sum(tape is None for tape in after.values())
            record_fact(history, "rows whose tape is null", 2 * PART, lambda: without)
            record_fact(history, "id of the new column", TAPE.field_id, column_id, stack, TAPE.name)
            record_fact(history, "dead letters", 0, count_dead_letters, stack)
            pages = all_pages(f"{stack.start_api()}/v1/trades", {})
            record_fact(history, "rows this version answers", 3 * PART, lambda: sum(len(p.body["data"]) for p in pages))
        finally:
            later.stop()
    clause.judge()


@pytest.mark.clause(
    name="records/subjects",
    claims=("REC-1c",),
    checker="facts",
    title="Six subjects are registered with BACKWARD compatibility of their own, and what is incompatible is refused",
    minimum_samples=19,
    remedy="see k2/ingestion/remote_registry.py",
)
def test_the_six_subjects_are_registered_and_guarded(stack: Stack, clause: ClauseRun) -> None:
    prefix = stack.settings.kafka.topic_prefix
    with registry_server(stack) as url, clause.history() as history:
        ids = register_all(url, prefix)
        names = [f"market.{asset}.{name}-value" for asset in ("crypto", "equities") for name in DATA_TYPES]
        expected = sorted(f"{prefix}{name}" for name in names)
        record_fact(history, "subjects", expected, subjects, url, prefix)
        for subject in expected:
            data_type = subject.removesuffix("-value").rsplit(".", 1)[1]
            record_fact(history, f"{subject}: compatibility", "BACKWARD", compatibility, url, subject)
            record_fact(history, f"{subject}: schema", True, is_schema_of, url, ids[subject], data_type)
            record_fact(history, f"{subject}: incompatible", 409, status_of_incompatible, url, subject)
    clause.judge()
