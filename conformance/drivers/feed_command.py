"""Runs `k2 feed` as an operator does, and waits until the tables have taken in everything it sent."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from conformance.drivers.dlq_command import Answer, k2
from conformance.drivers.feeding import Place, wait_until_drained
from conformance.drivers.log_tap import ANSWER_TIMEOUT_SECONDS, decode_independently, read_all
from conformance.drivers.registered import registered_schemas
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import dead_letter_topic, source_topics

_LETTER_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("data_type", "exchange", "symbol", "session", "error_class")),
        ("session_sequence", pa.int64()),
    ]
)


def feed(stack: Stack, history: HistoryWriter, *arguments: str) -> Answer:
    """Run `k2 feed` to its end and wait until the tables have passed everything that is in the log.

    Raises:
        TimeoutError: they do not.
    """
    with history.invoke("operator", "feed", {"arguments": list(arguments)}) as invocation:
        answer = k2(stack, "feed", *arguments)
        invocation.attributes |= {
            "exit_code": answer.exit_code,
            "stdout": answer.stdout,
            "stderr": answer.stderr[-500:],
        }
    wait_until_drained(stack, history, log_ends(stack))
    return answer


def log_ends(stack: Stack, data_type: str | None = None) -> dict[Place, int]:
    """For each partition that holds messages the offset after the last; of one data type where it is given."""
    topics = source_topics(stack.settings.kafka.topic_prefix)
    if data_type is not None:
        topics = tuple(name for name in topics if name.endswith(f".{data_type}"))
    client = Consumer(
        {"bootstrap.servers": stack.settings.kafka.bootstrap_servers, "group.id": "harness-ends", "log_level": 2}
    )
    try:
        places = [
            (name, partition)
            for name in topics
            for partition in client.list_topics(name, timeout=ANSWER_TIMEOUT_SECONDS).topics[name].partitions
        ]
        ends = {place: _end(client, place) for place in places}
    finally:
        client.close()
    return {place: end for place, end in ends.items() if end}


def dead_letters(stack: Stack) -> pa.Table:
    """Stage `dead_letters` of planted faults: which record each letter holds, and why it is one."""
    schemas, topics = registered_schemas(stack), source_topics(stack.settings.kafka.topic_prefix)
    rows: list[dict[str, Any]] = []
    for letter in read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(name) for name in topics]):
        _, record = decode_independently(letter, schemas)
        values = record or {}
        names = ("exchange", "symbol", "session", "session_sequence")
        error_class = dict(letter.headers).get("k2.error.class") or b""
        data_type = letter.topic.rsplit(".", 2)[1]
        rows.append(
            {"data_type": data_type, "error_class": error_class.decode(), **{name: values.get(name) for name in names}}
        )
    return pa.Table.from_pylist(rows, schema=_LETTER_SCHEMA)


def summary(answer: Answer) -> dict[str, Any]:
    """What `k2 feed --json` said, with the files by their position instead of their path."""
    said = answer.objects[0] if answer.stdout else {}
    files: Sequence[dict[str, Any]] = said.get("files", ())
    return {**said, "files": [{name: value for name, value in one.items() if name != "file"} for one in files]}


def _end(client: Consumer, place: Place) -> int:
    _, end = client.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_TIMEOUT_SECONDS)
    return int(end)
