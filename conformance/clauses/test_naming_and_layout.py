"""Names and layout: topics, keys, tables, partitions and the small endpoints are as ruled.

Topics MUST be market.<asset_class>.<data_type>, keys exchange:symbol, tables market_data.<data_type>_v2 (REC-4); the
schemas derived from one definition MUST agree (REC-1); tables MUST be partitioned by day of event time and exchange
(ICE-1); the API MUST list the instruments a table holds (API-1).
"""

from collections.abc import Iterable

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.log_tap import LogTap, TappedMessage
from conformance.drivers.table_view import open_table
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import QUOTE, TRADE, RecordType
from k2.records.schemas import arrow_schema, avro_schema, table_schema

RECORDS = 2_000
NS_A_DAY = 86_400 * 10**9
# One minute before midnight, so that the records of a few minutes lie on two days.
START_NS = 1_723_161_540 * 10**9


@pytest.mark.clause(
    name="naming_and_layout",
    claims=("REC-1a", "REC-4a", "PRO-1a", "ICE-1a", "API-1c"),
    checker="facts",
    title="Topics, keys, tables, partitions and symbols are named and laid out as ruled",
    minimum_samples=10,
    remedy="see k2/records/definition.py and k2/storage/catalog.py",
)
def test_names_and_layout_are_as_ruled(stack: Stack, clause: ClauseRun) -> None:
    exchange = SyntheticExchange(SyntheticSettings(seed=9, records=RECORDS, start_time_ns=START_NS, rate_per_second=10))
    prefix = stack.settings.kafka.topic_prefix
    topics = [f"{prefix}market.crypto.quotes", f"{prefix}market.crypto.trades"]
    with clause.history(seed=9) as history:
        for data_type in ("trades", "quotes"):
            stack.start_consumer(data_type)
        with LogTap(stack.settings.kafka.bootstrap_servers, topics) as tap:
            fed = feed_records(stack, exchange)
            messages = tap.wait_for(len(fed.items), timeout_seconds=30)
        wait_until_drained(stack, history, fed.acknowledged_ends())
        symbols = sorted({item.record["symbol"] for item, _ in fed.items})
        record_fact(history, "topics with records", topics, lambda: sorted({m.topic for m in messages}))
        record_fact(
            history,
            "keys",
            [f"BINANCE:{s}" for s in symbols],
            lambda: sorted({(m.key or b"").decode() for m in messages}),
        )
        record_fact(history, "partitions per key", 1, most_partitions_of_a_key, messages)
        api_url = stack.start_api()
        for record_type in (TRADE, QUOTE):
            name = record_type.table
            record_fact(
                history, f"{name}: partition fields", ["day(event_time)", "identity(exchange)"],
                partition_fields, stack, name,
            )  # fmt: skip
            expected_days = days(
                item.record["event_time_ns"] for item, _ in fed.items if item.data_type == record_type.data_type
            )
            record_fact(history, f"{name}: days with files", expected_days, days_with_files, stack, name)
            record_fact(
                history, f"{record_type.data_type}: symbols", symbols,
                listed_symbols, api_url, record_type,
            )  # fmt: skip
            record_fact(history, f"{name}: schemas agree", [], disagreements, stack, record_type)
    clause.judge()


def most_partitions_of_a_key(messages: Iterable[TappedMessage]) -> int:
    """The largest number of partitions one key was spread over, within a topic."""
    places: dict[tuple[str, bytes | None], set[int]] = {}
    for message in messages:
        places.setdefault((message.topic, message.key), set()).add(message.partition)
    return max(len(partitions) for partitions in places.values())


def partition_fields(stack: Stack, name: str) -> list[str]:
    """The table's partitioning, as PyIceberg reads it."""
    table = open_table(stack.settings.storage, name)
    return [f"{field.transform}({table.schema().find_column_name(field.source_id)})" for field in table.spec().fields]


def days_with_files(stack: Stack, name: str) -> list[int]:
    """Days since 1970 of the partitions that hold files."""
    return sorted({task.file.partition[0] for task in open_table(stack.settings.storage, name).scan().plan_files()})


def days(times_ns: Iterable[int]) -> list[int]:
    """Days since 1970."""
    return sorted({time_ns // NS_A_DAY for time_ns in times_ns})


def listed_symbols(api_url: str, record_type: RecordType) -> list[str]:
    """What /v1/symbols answers."""
    answer = http.get(f"{api_url}/v1/symbols", {"data_type": record_type.data_type})
    return sorted(row["symbol"] for row in answer.body["data"])


def disagreements(stack: Stack, record_type: RecordType) -> list[str]:
    """Names and nullability on which the Avro, Arrow, planned and real table schemas differ."""
    avro = {field["name"]: isinstance(field["type"], list) for field in avro_schema(record_type)["fields"]}
    arrow = {field.name: field.nullable for field in arrow_schema(record_type)}
    planned = {field.name: field.nullable for field in table_schema(record_type)}
    fields = open_table(stack.settings.storage, record_type.table).schema().fields
    real = {field.name: not field.required for field in fields}
    found = [name for name in avro if avro[name] != arrow.get(name) or avro[name] != planned.get(name)]
    return found + [name for name in {*planned, *real} if planned.get(name) != real.get(name)]
