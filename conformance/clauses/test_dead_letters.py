"""What cannot be a row is a dead letter, whole.

Every message that cannot be decoded or breaks a rule MUST be in the dead letter topic with its original bytes and
headers that say where it came from and why (DLQ-1), also where the consumer was killed before its commit; none MUST be
in the table, and the good records around it MUST be.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import KafkaError, Message, Producer

from conformance.clause import ClauseRun
from conformance.drivers.feeding import Fed, feed_records, wait_until_drained
from conformance.drivers.log_tap import LogTap, TappedMessage
from conformance.drivers.observing import observe_tables
from conformance.stacks.base import SignalPlan
from conformance.stacks.embedded import EmbeddedStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.registry import PackagedRegistry
from k2.records.definition import TRADE, dead_letter_topic, topic
from k2.records.encode import RecordEncoder

TOPIC = topic("crypto", "trades")
COPIES = 5
DEATH_TIMEOUT_SECONDS = 60
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Poison:
    """A message that must not become a row."""

    kind: str
    value: bytes | None


def poisons() -> Iterator[Poison]:
    """Twelve kinds of bad message, several of each, around one good one."""
    schema_id = PackagedRegistry().schema_id("crypto", TRADE)
    record = next(iter(SyntheticExchange(SyntheticSettings(seed=1, records=1, trade_share=1.0)))).record
    encoder = RecordEncoder(TRADE, schema_id)
    good = encoder.encode(record)
    for number in range(COPIES):
        yield Poison("tombstone", None)
        yield Poison("empty", b"")
        yield Poison("no_frame", b"not avro %d" % number)
        yield Poison("short_frame", good[: 1 + number % 4])
        yield Poison("unknown_schema_id", b"\0" + struct.pack(">I", 900 + number) + good[5:])
        yield Poison("truncated", good[: len(good) // 2 + number])
        yield Poison("surplus_byte", good + b"\0" * (number + 1))
        yield Poison("garbage", good[:5] + bytes((17 * place + number) % 256 for place in range(80)))
        yield Poison("negative_length", good[:5] + b"\x01" + good[6:])
        yield Poison("huge_length", good[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
        yield Poison("negative_price", encoder.encode({**record, "price": "-1"}))
        yield Poison("event_time_in_1970", encoder.encode({**record, "event_time_ns": number}))


@pytest.mark.clause(
    name="dead_letters",
    claims=("DLQ-1a",),
    checker="dead_letters",
    title="Each of twelve kinds of bad message is a dead letter with its bytes and origin, and its neighbours are rows",
    minimum_samples=12 * COPIES,
    remedy="see k2/records/decode.py for what is rejected and k2/ingestion/dead_letters.py for what is kept of it",
)
def test_every_bad_message_becomes_a_dead_letter_and_no_row(stack: EmbeddedStack, clause: ClauseRun) -> None:
    follow_poison(stack, clause, None)


@pytest.mark.clause(
    name="dead_letters/killed_before_the_commit",
    claims=("DLQ-1b",),
    checker="dead_letters",
    title="A consumer killed between dead letter and commit loses no reject",
    minimum_samples=12 * COPIES,
    remedy="see the order of REJECT and COMMIT in k2/ingestion/consumer.py",
)
def test_a_kill_between_dead_letter_and_commit_loses_no_reject(
    stack: EmbeddedStack, clause: ClauseRun, tmp_path: Path
) -> None:
    follow_poison(stack, clause, SignalPlan("REJECT", 1, tmp_path / "kills.jsonl"))


def follow_poison(stack: EmbeddedStack, clause: ClauseRun, plan: SignalPlan | None) -> None:
    """Send bad messages between good ones, consume them (killed once by a plan, if there is one), and judge."""
    planned = list(poisons())
    with clause.history(required_kinds=sorted({poison.kind for poison in planned})) as history:
        exchange = SyntheticExchange(
            SyntheticSettings(
                seed=5, records=2_000, trade_share=1.0, duplicate_rate=0.0, gap_rate=0.0, reorder_rate=0.0
            )
        )
        records = iter(exchange)
        before = feed_records(stack, itertools.islice(records, 1_000))
        sent = produce(stack.settings.kafka.bootstrap_servers, planned)
        after = feed_records(stack, records)
        fed = Fed([*before.items, *after.items])
        if plan is not None:
            status = stack.start_consumer("trades", plan).wait(DEATH_TIMEOUT_SECONDS)
            history.operation("harness", "kill", "ok", attributes={"step": plan.after_step, "exit_signal": -status})
        stack.start_consumer("trades")
        ends = fed.acknowledged_ends()
        for (partition, offset), _ in sent:
            ends[TOPIC, partition] = max(ends.get((TOPIC, partition), 0), offset + 1)
        wait_until_drained(stack, history, ends)
        with LogTap(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(TOPIC)]) as tap:
            letters = tap.wait_for(len(planned) * (1 if plan is None else 2), timeout_seconds=20)
        history.observe("poison", pa.Table.from_pylist([poison_row(place, poison) for place, poison in sent]))
        history.observe("dead_letters", letter_table(letters))
        history.observe("fed", fed.table("trades"), "trades")
        observe_tables(history, stack, ["trades"])
    clause.judge()


def produce(bootstrap_servers: str, messages: list[Poison]) -> list[tuple[Place, Poison]]:
    """Send raw messages and return where each came to lie."""
    client = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "log_level": 2})
    places: dict[int, Place] = {}

    def remember(number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise RuntimeError(f"a poison message was not acknowledged: {error.str()}")
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        places[number] = (partition, offset)

    for number, poison in enumerate(messages):
        client.produce(
            TOPIC,
            key=b"BINANCE:BTCUSDT",
            value=poison.value,
            headers=[("origin", poison.kind.encode())],
            on_delivery=partial(remember, number),
        )
    client.flush(10)
    return [(places[number], poison) for number, poison in enumerate(messages)]


def poison_row(place: Place, poison: Poison) -> dict[str, Any]:
    """A row of stage `poison`."""
    return {
        "topic": TOPIC,
        "kafka_partition": place[0],
        "kafka_offset": place[1],
        "sha256": digest(poison.value),
        "kind": poison.kind,
    }


def letter_table(letters: list[TappedMessage]) -> pa.Table:
    """Stage `dead_letters`, coordinates taken from the headers."""
    rows = []
    for letter in letters:
        headers = {name: (value or b"").decode() for name, value in letter.headers}
        rows.append(
            {
                "topic": headers.get("k2.source.topic"),
                "kafka_partition": int(headers.get("k2.source.partition", -1)),
                "kafka_offset": int(headers.get("k2.source.offset", -1)),
                "sha256": digest(letter.value),
                "headers": list(headers.items()),
            }
        )
    schema = pa.schema(
        [
            ("topic", pa.string()),
            ("kafka_partition", pa.int32()),
            ("kafka_offset", pa.int64()),
            ("sha256", pa.string()),
            ("headers", pa.map_(pa.string(), pa.string())),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def digest(value: bytes | None) -> str:
    """SHA-256 of the bytes; a tombstone is told apart from an empty message."""
    return "none" if value is None else hashlib.sha256(value).hexdigest()
