"""Drivers of dead letters: files read without K2, a newer producer's messages, and a schema that comes late."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from conformance.drivers.curable import NewerProducer, ends_of, replayed_table
from conformance.drivers.letter_files import (
    after_a_power_cut,
    file_table,
    letters_in_files,
    line_table,
    read_evidence,
    written_table,
)
from conformance.drivers.log_tap import TappedMessage, read_all
from conformance.drivers.poisoning import digest, letter_table
from conformance.stacks.schema_registry import NEWER_ID, SchemaRegistryServer
from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import SchemaError
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.dead_letter_files import DeadLetterFiles
from k2.ingestion.dead_letter_inventory import KeptLetter
from k2.ingestion.dead_letters import DeadLetter
from k2.ingestion.registry import open_registry
from k2.ingestion.replay import ReplaySession
from k2.records.decode import BatchDecoder
from k2.records.definition import TRADE, dead_letter_topic
from k2.settings import KafkaSettings

TOPIC = "market.crypto.trades"

HEADERS = (("trace", b"a"), ("nothing", None))


def letter(offset: int, value: bytes | None) -> DeadLetter:
    return DeadLetter(TOPIC, 2, offset, b"key", value, HEADERS, "decode", "truncated", "cut\noff")


def write(directory: Path, *letters: DeadLetter, max_size_mb: float = 1.0) -> None:
    with closing(DeadLetterFiles(directory, max_size_mb, "run", SystemClock())) as files:
        files.write(letters)


def test_files_are_read_as_they_were_written_without_the_code_that_wrote_them(tmp_path: Path) -> None:
    write(tmp_path, letter(1, b"\r\n\x00"), letter(2, None))
    assert line_table(tmp_path).drop_columns(["size_bytes"]).to_pylist() == [
        {
            "file": f"{TOPIC}-run-000001.jsonl",
            "line": number,
            "is_whole": True,
            "run": "run",
            "topic": TOPIC,
            "kafka_partition": 2,
            "kafka_offset": number,
            "sha256": digest(value),
        }
        for number, value in ((1, b"\r\n\x00"), (2, None))
    ]
    (path,) = tmp_path.iterdir()
    assert sum(line_table(tmp_path)["size_bytes"].to_pylist()) == path.stat().st_size
    assert file_table(tmp_path)["size_bytes"].to_pylist() == [path.stat().st_size]
    first, second = letter_table(letters_in_files(tmp_path)).to_pylist()
    assert (first["kafka_partition"], first["kafka_offset"], first["sha256"]) == (2, 1, digest(b"\r\n\x00"))
    assert dict(first["headers"])["trace"] == "a"
    assert dict(first["headers"])["k2.error.class"] == "truncated"
    assert second["sha256"] == "none"


@pytest.mark.parametrize("rest", [b'{"record": {"top', b"{}\n", b"\xff\n", b"\n"])
def test_what_is_no_letter_is_not_taken_for_one(tmp_path: Path, rest: bytes) -> None:
    write(tmp_path, letter(1, b"x"))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + rest)
    assert line_table(tmp_path)["is_whole"].to_pylist() == [True, False]
    assert len(letters_in_files(tmp_path)) == 1


def test_a_power_cut_takes_what_was_not_synced(tmp_path: Path) -> None:
    directory = tmp_path / "letters"
    write(directory, *(letter(offset, b"x") for offset in range(3)), max_size_mb=1e-9)
    first, second, third = sorted(directory.iterdir())
    size = first.stat().st_size
    evidence = tmp_path / "evidence.jsonl"
    entries = [
        {"begun": [[0, "a"], [1, "b"]]},
        {"directory": str(directory), "listed": [first.name, second.name]},
        {"synced": first.name, "bytes": size},
        {"synced": second.name, "bytes": 5},
        {"synced": third.name, "bytes": size},
        {"kept": [0]},
    ]
    evidence.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"kept": [1')
    read = read_evidence(evidence)
    left = after_a_power_cut(directory, [read], tmp_path / "after")
    assert [(path.name, path.stat().st_size) for path in sorted(left.iterdir())] == [
        (first.name, size),
        (second.name, 5),
    ]
    assert line_table(left)["is_whole"].to_pylist() == [True, False]
    assert written_table(TOPIC, [read])["is_kept"].to_pylist() == [True, False]


def test_a_newer_producers_records_can_be_decoded_once_their_schema_is_registered() -> None:
    records = list(SyntheticExchange(SyntheticSettings(seed=3, records=8, trade_share=1.0)))
    with EmbeddedBroker((TOPIC,), partitions=2) as broker, SchemaRegistryServer() as registry:
        with NewerProducer(KafkaSettings(bootstrap_servers=broker.bootstrap_servers)) as newer:
            assert list(newer.among(records, every=3)) == [*records[1:3], *records[4:6], *records[7:]]
        messages = read_all(broker.bootstrap_servers, [TOPIC])
        (url,) = registry.settings.values()
        decoder = BatchDecoder(TRADE, open_registry(KafkaSettings(schema_registry_url=url)).writer_schema)
        values = [message.value for message in messages]
        assert {reject.reason for reject in decoder.decode(values).rejects} == {"unknown_schema_id"}
        registry.register_newer()
        decoded = decoder.decode(values)
    assert (newer.sent, decoded.rejects, set(decoded.schema_ids.tolist())) == (3, (), {NEWER_ID})
    sent = {item.record["trade_id"] for item in (records[0], records[3], records[6])}
    assert set(decoded.columns.column("trade_id").to_pylist()) == sent
    table = newer.table()
    assert sorted(table["sha256"].to_pylist()) == sorted(digest(value) for value in values)
    placed = {(row["kafka_partition"], row["kafka_offset"]) for row in table.to_pylist()}
    assert placed == {(message.partition, message.offset) for message in messages}
    assert ends_of(messages) == newer.fed().acknowledged_ends()


def test_the_registry_says_of_an_unknown_schema_that_it_is_unknown() -> None:
    with SchemaRegistryServer() as registry:
        (url,) = registry.settings.values()
        client = open_registry(KafkaSettings(schema_registry_url=url))
        with pytest.raises(SchemaError, match=f"schema id {NEWER_ID} is unknown"):
            client.writer_schema(NEWER_ID)
        assert client.writer_schema(1)["name"] == "Trade"


def test_a_replay_is_read_to_its_end_and_its_marks_are_no_letters() -> None:
    kept = KeptLetter(letter(7, b"junk"), 0, ("file",))
    topics = (TOPIC, dead_letter_topic(TOPIC))
    with EmbeddedBroker(topics, partitions=3) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        with ReplaySession(kafka, {TOPIC: 3}, SystemClock()) as session:
            session.send([kept])
        (replayed,) = read_all(broker.bootstrap_servers, [TOPIC])
        (mark,) = read_all(broker.bootstrap_servers, [dead_letter_topic(TOPIC)])
    (row,) = replayed_table([replayed, TappedMessage(TOPIC, 0, 0, None, b"plain", ())]).to_pylist()
    assert (row["replay_of"], row["kafka_partition"], row["sha256"]) == (f"{TOPIC}/2/7", 2, digest(b"junk"))
    assert ("trace", "a") in row["headers"]
    assert mark.value is None
    assert letter_table([mark]).num_rows == 0
