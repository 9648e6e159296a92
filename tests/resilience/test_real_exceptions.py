"""The classes hold for what the libraries really raise: each case provokes its error from a real client or file."""

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient

from k2.embedded.broker import EmbeddedBroker
from k2.resilience.failures import classify
from k2.resilience.rule import FailureClass

TRANSIENT, PERMANENT, FATAL = FailureClass
PATIENCE_SECONDS = 30.0
CLOSED_PORT = "127.0.0.1:9"
TOPIC = "orders"
PRODUCE, FETCH, METADATA, JOIN_GROUP = 0, 1, 3, 11
QUIET = {"log_level": 0}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker((TOPIC,), 1) as broker:
        yield broker


def raised_by(work: Callable[[], Any]) -> Exception:
    """What it raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the class is what the caller looks at
        work()
    return caught.value


def client(servers: str, **options: Any) -> Producer:
    return Producer({"bootstrap.servers": servers, **QUIET, **options})


def reported(servers: str, **options: Any) -> set[str]:
    """Names of the errors that a client reports by itself, up to the first."""
    names: set[str] = set()
    with_callback = client(servers, error_cb=lambda error: names.add(error.name()), **options)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not names and time.monotonic() < give_up_at:
        with_callback.poll(0.05)
    return names


def delivery_error(producer: Producer, value: bytes = b"x") -> KafkaError:
    """What the report of one message says."""
    errors: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        errors.append(error)

    producer.produce(TOPIC, value, on_delivery=delivered)
    producer.flush(PATIENCE_SECONDS)
    assert errors[0] is not None
    return errors[0]


def consumer_error(broker: EmbeddedBroker) -> KafkaError:
    """The first error that comes where messages should."""
    reader = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "g", "auto.offset.reset": "earliest", **QUIET}
    )
    reader.subscribe([TOPIC])
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        message = reader.poll(0.1)
        error = None if message is None else message.error()
        if error is not None:
            with contextlib.suppress(KafkaException):
                reader.unsubscribe()
            return error
    raise AssertionError("no error came")


def assert_is(error: Exception | KafkaError, failure_class: FailureClass, *reasons: str) -> None:
    failure = classify(KafkaException(error) if isinstance(error, KafkaError) else error)
    assert (failure.failure_class, failure.reason in reasons) == (failure_class, True), failure
    assert failure.rule is not None


@pytest.mark.parametrize("servers", [CLOSED_PORT, "no-such-host.invalid:9092"], ids=["closed port", "unknown host"])
def test_a_broker_that_is_not_there_is_transient(servers: str) -> None:
    assert_is(raised_by(lambda: client(servers).list_topics(timeout=0.5)), TRANSIENT, "_TRANSPORT", "_TIMED_OUT")
    for name in reported(servers):
        assert_is(KafkaError(getattr(KafkaError, name)), TRANSIENT, "_TRANSPORT", "_RESOLVE", "_ALL_BROKERS_DOWN")


def test_a_broker_that_goes_away_is_transient(broker: EmbeddedBroker) -> None:
    connected = client(broker.bootstrap_servers, **{"delivery.timeout.ms": 300, "linger.ms": 0})
    connected.list_topics(timeout=PATIENCE_SECONDS)
    broker.go_down()
    assert_is(delivery_error(connected), TRANSIENT, "_MSG_TIMED_OUT")
    assert_is(raised_by(lambda: connected.list_topics(timeout=0.3)), TRANSIENT, "_TRANSPORT", "_TIMED_OUT")


def test_a_topic_that_is_not_there_is_transient(broker: EmbeddedBroker) -> None:
    administrator = AdminClient({"bootstrap.servers": broker.bootstrap_servers, **QUIET})
    asked = administrator.describe_topics(TopicCollection(["nothing"]), request_timeout=PATIENCE_SECONDS)
    assert_is(raised_by(asked["nothing"].result), TRANSIENT, "UNKNOWN_TOPIC_OR_PART")


def test_credentials_a_broker_cannot_check_are_fatal(broker: EmbeddedBroker) -> None:
    options = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}
    names = reported(broker.bootstrap_servers, **options, **{"sasl.username": "k2", "sasl.password": "wrong"})
    assert "_AUTHENTICATION" in names
    assert_is(KafkaError(KafkaError._AUTHENTICATION), FATAL, "_AUTHENTICATION")


def test_a_setting_without_sense_is_fatal() -> None:
    assert_is(raised_by(lambda: Producer({"no.such.property": 1})), FATAL, "_INVALID_ARG")


def test_a_message_the_client_takes_for_too_large_is_permanent(broker: EmbeddedBroker) -> None:
    error = raised_by(lambda: client(broker.bootstrap_servers).produce(TOPIC, b"x" * 2_000_000))
    assert_is(error, PERMANENT, "MSG_SIZE_TOO_LARGE")


@pytest.mark.parametrize(
    ("code", "failure_class"),
    [
        ("MSG_SIZE_TOO_LARGE", PERMANENT),
        ("INVALID_RECORD", PERMANENT),
        ("INVALID_TIMESTAMP", PERMANENT),
        ("TOPIC_AUTHORIZATION_FAILED", FATAL),
        ("CLUSTER_AUTHORIZATION_FAILED", FATAL),
        ("POLICY_VIOLATION", FATAL),
        ("UNSUPPORTED_FOR_MESSAGE_FORMAT", FATAL),
    ],
)
def test_what_a_broker_answers_to_a_message_reaches_the_table(
    broker: EmbeddedBroker, code: str, failure_class: FailureClass
) -> None:
    broker.fail_requests(PRODUCE, [getattr(KafkaError, code)])
    assert_is(delivery_error(client(broker.bootstrap_servers)), failure_class, code)


def test_a_right_that_is_missing_for_metadata_is_fatal(broker: EmbeddedBroker) -> None:
    broker.fail_requests(METADATA, [KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 5)
    error = raised_by(lambda: client(broker.bootstrap_servers).list_topics(timeout=PATIENCE_SECONDS))
    assert_is(error, FATAL, "CLUSTER_AUTHORIZATION_FAILED")


@pytest.mark.parametrize(
    ("api_key", "code", "seen"),
    [
        (FETCH, "TOPIC_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"),
        (JOIN_GROUP, "GROUP_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"),
        (JOIN_GROUP, "FENCED_INSTANCE_ID", "fatal"),
    ],
)
def test_what_stops_a_reader_is_fatal(broker: EmbeddedBroker, api_key: int, code: str, seen: str) -> None:
    client(broker.bootstrap_servers).produce(TOPIC, b"x")
    broker.fail_requests(api_key, [getattr(KafkaError, code)] * 2)
    assert_is(consumer_error(broker), FATAL, seen, f"_{seen.upper()}")


def test_a_registry_that_is_not_there_is_transient() -> None:
    registry = SchemaRegistryClient({"url": f"http://{CLOSED_PORT}", "max.retries": 0})
    assert_is(raised_by(lambda: registry.get_schema(1)), TRANSIENT, "ConnectError")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/catalog.db?timeout=0.05")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def execute(engine: sqlalchemy.Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))


def test_a_database_that_another_process_holds_is_transient(database: sqlalchemy.Engine, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert_is(raised_by(lambda: execute(database, "INSERT INTO numbers VALUES (1)")), TRANSIENT, "SQLITE_BUSY")


def test_a_row_that_another_process_wrote_first_is_transient(database: sqlalchemy.Engine) -> None:
    execute(database, "INSERT INTO numbers VALUES (1)")
    error = raised_by(lambda: execute(database, "INSERT INTO numbers VALUES (1)"))
    assert_is(error, TRANSIENT, "SQLITE_CONSTRAINT_PRIMARYKEY")


def test_a_disk_without_room_for_the_database_is_transient(database: sqlalchemy.Engine) -> None:
    execute(database, "PRAGMA max_page_count = 2")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
    fill = f"{numbers} INSERT INTO numbers SELECT i FROM n"
    assert_is(raised_by(lambda: execute(database, fill)), TRANSIENT, "SQLITE_FULL")


def test_a_table_that_is_missing_is_fatal(database: sqlalchemy.Engine) -> None:
    assert_is(raised_by(lambda: execute(database, "SELECT * FROM words")), FATAL, "SQLITE_ERROR")


def test_a_database_that_may_only_be_read_is_fatal(tmp_path: Path, database: sqlalchemy.Engine) -> None:
    reading = sqlalchemy.create_engine(f"sqlite:///file:{tmp_path}/catalog.db?mode=ro&uri=true")
    try:
        assert_is(raised_by(lambda: execute(reading, "INSERT INTO numbers VALUES (1)")), FATAL, "SQLITE_READONLY")
    finally:
        reading.dispose()


def test_a_file_that_is_no_database_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("this is no database " * 100)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/letter.db")
    try:
        assert_is(raised_by(lambda: execute(engine, "SELECT 1 FROM numbers")), FATAL, "SQLITE_NOTADB")
    finally:
        engine.dispose()


def test_a_database_whose_folder_is_away_is_transient(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/away/catalog.db")
    assert_is(raised_by(lambda: execute(engine, "SELECT 1")), TRANSIENT, "SQLITE_CANTOPEN")


@pytest.mark.parametrize(
    ("path", "failure_class", "reason"),
    [
        ("away/file", TRANSIENT, "ENOENT"),
        ("a file/file", TRANSIENT, "ENOTDIR"),
        ("a folder", FATAL, "EISDIR"),
        ("x" * 300, FATAL, "ENAMETOOLONG"),
    ],
)
@pytest.mark.parametrize("library", ["python", "arrow"])
def test_a_path_that_cannot_be_written_keeps_its_number(
    tmp_path: Path, path: str, failure_class: FailureClass, reason: str, library: str
) -> None:
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    arrow = pyarrow.fs.LocalFileSystem()
    if library == "python":
        error = raised_by(lambda: (tmp_path / path).write_text(""))
    else:
        error = raised_by(lambda: arrow.open_output_stream(str(tmp_path / path)))
    assert_is(error, failure_class, reason)


def test_a_full_disk_is_transient() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def write_with_arrow() -> None:
        with pyarrow.fs.LocalFileSystem().open_append_stream("/dev/full") as stream:
            stream.write(b"x" * 1_000_000)

    def write_with_python() -> None:
        with open("/dev/full", "wb", buffering=0) as stream:
            stream.write(b"x")

    assert_is(raised_by(write_with_python), TRANSIENT, "ENOSPC")
    assert_is(raised_by(write_with_arrow), TRANSIENT, "ENOSPC")


def test_a_file_system_without_room_is_transient(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        rows = pa.table({"number": pa.array(range(1_000_000), pa.int64())})
        assert_is(raised_by(lambda: pq.write_table(rows, disk / "rows.parquet")), TRANSIENT, "ENOSPC")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_that_is_no_parquet_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and nothing else")
    assert_is(raised_by(lambda: pq.read_table(tmp_path / "rows.parquet")), FATAL, "ArrowInvalid")
