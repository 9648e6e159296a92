"""Tables on real servers: an S3 object store and a PostgreSQL catalog, and what K2 makes of their errors."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from pyarrow.fs import FileSelector, S3FileSystem

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.images import ensure_images
from k2.assembly.auditing import verify_audit
from k2.assembly.tables import create_tables, open_catalog
from k2.errors import K2Error, RefusedError, StaleWriterError, StateLostError, UnavailableError
from k2.records.definition import RECORD_TYPES, TRADE
from k2.settings import Settings, StorageSettings
from k2.storage.addresses import catalog_properties
from k2.storage.catalog import IcebergCatalog
from k2.storage.writer import TableWriter
from tests.containers.container_label import LABEL
from tests.resilience.manual_clock import ManualClock
from tests.storage.warehouse_tables import STATE, Warehouse, advance, key, prepare

# The first test may have to wait for images to be built.
pytestmark = pytest.mark.timeout(3600)

HEALTHY_SECONDS = 120.0
ACCESS_KEY, SECRET_KEY, PASSWORD = "k2-access", "s3-hush-hush", "pg-hush-hush"
ENVIRONMENTS = {
    "object-store": {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
    "postgres": {"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "catalog"},
}


@dataclass(frozen=True)
class Servers:
    """Both servers, running."""

    engine: EngineClient
    containers: dict[str, str]
    addresses: dict[str, str]

    @property
    def catalog_uri(self) -> str:
        return f"postgresql+psycopg://postgres:{PASSWORD}@{self.addresses['postgres']}:5432/catalog"

    @property
    def s3_endpoint(self) -> str:
        return f"http://{self.addresses['object-store']}:7070"

    def bucket(self) -> str:
        """A new one."""
        name = f"k2-{secrets.token_hex(4)}"
        self.files().create_dir(name)
        return name

    def files(self) -> S3FileSystem:
        return S3FileSystem(
            endpoint_override=self.s3_endpoint,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def sql(self, *statements: str) -> None:
        engine = sqlalchemy.create_engine(self.catalog_uri, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))
        engine.dispose()


@dataclass
class ServerWarehouse(Warehouse):
    """Tables whose catalog and files are on the servers."""

    servers: Servers = field(kw_only=True)
    name: str = field(default_factory=lambda: f"run-{secrets.token_hex(4)}")
    bucket: str = ""

    @property
    def settings(self) -> StorageSettings:
        values: dict[str, Any] = {
            "catalog_uri": self.servers.catalog_uri,
            "catalog_name": self.name,
            "warehouse": f"s3://{self.bucket}/warehouse/",
            "audit_log": self.folder / "audit.jsonl",
            "s3_endpoint": self.servers.s3_endpoint,
            "s3_access_key": ACCESS_KEY,
            "s3_secret_key": SECRET_KEY,
            "s3_request_timeout_seconds": 1,
            "s3_connect_timeout_seconds": 1,
        }
        return StorageSettings(**{**values, **self.changed_settings})

    def keys(self, kind: str) -> set[str]:
        """Names of the table's files of a kind."""
        selector = FileSelector(f"{self.bucket}/warehouse/market_data/trades_v2/{kind}", allow_not_found=True)
        return {info.base_name for info in self.servers.files().get_file_info(selector)}


@pytest.fixture(scope="module")
def servers(engine: EngineClient) -> Iterator[Servers]:
    images = {image.name: image for image in ensure_images(engine, print, list(ENVIRONMENTS))}
    started = {
        name: engine.start_container(str(images[name].reference), label=LABEL, environment=environment)
        for name, environment in ENVIRONMENTS.items()
    }
    for container in started.values():
        give_up_at = time.monotonic() + HEALTHY_SECONDS
        while engine.health(container) != "healthy":
            assert time.monotonic() < give_up_at, engine.logs(container)[-4000:]
            time.sleep(0.2)
    yield Servers(engine, started, {name: address_of(engine, container) for name, container in started.items()})
    for container in started.values():
        engine.remove_container(container)


@pytest.fixture
def warehouse(servers: Servers, tmp_path: Path) -> Iterator[ServerWarehouse]:
    warehouse = ServerWarehouse(tmp_path, servers=servers, bucket=servers.bucket())
    warehouse.open_catalog().create_tables()
    yield warehouse
    warehouse.close()


def address_of(engine: EngineClient, container: str) -> str:
    """Its address on the engine's own network: the last line of its hosts file."""
    return engine.execute(container, "tail", "-n", "1", "/etc/hosts")[1].split()[0]


def test_rows_progress_and_state_are_on_the_servers(warehouse: ServerWarehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    committed = advance(writer, 0, 3, 8)
    assert warehouse.offsets() == [(0, offset) for offset in range(8)]
    assert len(warehouse.table().scan(snapshot_id=warehouse.table().metadata.snapshots[0].snapshot_id).to_arrow()) == 3
    state_path = committed.progress.partitions[key(0)].state_path
    assert state_path is not None
    assert state_path.startswith(f"s3://{warehouse.bucket}/warehouse/market_data/trades_v2/state/")
    another = warehouse.writer()
    assert another.progress() == committed.progress
    assert another.read_state(state_path).equals(STATE)
    assert not (warehouse.folder / "warehouse").exists()
    report = verify_audit(Settings(storage=warehouse.settings), [TRADE], recover=False)
    assert (report.findings, report.snapshots) == ((), 2)


def test_a_state_checkpoint_is_named_by_its_bytes(warehouse: ServerWarehouse) -> None:
    writer = warehouse.writer()
    path = writer.write_state(STATE, key(0), 1)
    files, place = warehouse.servers.files(), path.removeprefix("s3://")
    with files.open_output_stream(place) as stream:
        stream.write(b"something else")
    with pytest.raises(StateLostError, match="was altered"):
        writer.read_state(path)
    files.delete_file(place)
    with pytest.raises(StateLostError, match="is gone"):
        writer.read_state(path)


def test_a_writer_that_lost_leaves_no_files(warehouse: ServerWarehouse) -> None:
    quick, slow = warehouse.writer(), warehouse.writer()
    batch = prepare(slow, 0, None, 5)
    advance(quick, 0, None, 3)
    with pytest.raises(StaleWriterError):
        slow.commit(batch.written, batch.advances, {}, batch.name)
    assert not batch.file_names & (warehouse.keys("data") | warehouse.keys("state"))
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_writers_racing_for_one_partition_write_each_row_once(warehouse: ServerWarehouse) -> None:
    writers = [warehouse.writer() for _ in range(3)]

    def race(writer: TableWriter, step: int) -> bool:
        try:
            advance(writer, 0, 2 * step or None, 2 * step + 2)
        except StaleWriterError:
            return False
        return True

    with ThreadPoolExecutor(len(writers)) as pool:
        for step in range(3):
            assert sorted(pool.map(race, writers, [step] * 3)) == [False, False, True]
    assert warehouse.offsets() == [(0, offset) for offset in range(6)]


def test_what_expired_is_deleted_from_the_object_store(servers: Servers, tmp_path: Path) -> None:
    clock = ManualClock()
    bounded = {"snapshots_kept": 3, "snapshot_hours_kept": 0, "snapshot_days_kept": 0, "deletion_delay_seconds": 60}
    warehouse = ServerWarehouse(
        tmp_path, servers=servers, bucket=servers.bucket(), clock=clock, changed_settings=bounded
    )
    warehouse.open_catalog().create_tables()
    writer = warehouse.writer()
    for number in range(8):
        advance(writer, 0, number or None, number + 1)
    assert (len(warehouse.table().metadata.snapshots), len(warehouse.keys("state"))) == (3, 8)
    clock.advance(61)
    writer._expired_files.sweep()
    writer._expired_files.wait()
    assert (len(warehouse.keys("state")), len(warehouse.keys("data"))) == (3, 8)
    assert len(warehouse.offsets()) == 8
    warehouse.close()


def test_tables_of_two_names_in_one_database_do_not_see_each_other(servers: Servers, tmp_path: Path) -> None:
    for name in ("one", "two"):
        storage = ServerWarehouse(tmp_path / name, servers=servers, bucket=servers.bucket()).settings
        create_tables(Settings(storage=storage))
    first = ServerWarehouse(tmp_path / "a", servers=servers, bucket=servers.bucket())
    second = ServerWarehouse(tmp_path / "b", servers=servers, bucket=first.bucket)
    first.open_catalog().create_tables()
    with pytest.raises(K2Error, match="there is no table"):
        second.open_catalog().load(TRADE.table)
    first.close()
    second.close()


def test_catalogs_opened_at_once_all_work(servers: Servers, tmp_path: Path) -> None:
    servers.sql("DROP TABLE IF EXISTS iceberg_tables, iceberg_namespace_properties")
    warehouse = ServerWarehouse(tmp_path, servers=servers, bucket=servers.bucket())
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: warehouse.open_catalog().create_tables(), range(6)))
    with closing(IcebergCatalog(warehouse.settings)) as catalog:
        assert [catalog.load(record_type.table).metadata.snapshots for record_type in RECORD_TYPES.values()] == [[]] * 3
    warehouse.close()


def test_a_user_who_may_only_change_rows_of_the_catalog_can_write(servers: Servers, tmp_path: Path) -> None:
    warehouse = ServerWarehouse(tmp_path, servers=servers, bucket=servers.bucket())
    warehouse.open_catalog().create_tables()
    role = f"writer_{secrets.token_hex(4)}"
    servers.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'least'",
        f"GRANT SELECT, UPDATE ON iceberg_tables TO {role}",
        f"GRANT SELECT ON iceberg_namespace_properties TO {role}",
    )
    warehouse.changed_settings = {"catalog_uri": servers.catalog_uri.replace(f"postgres:{PASSWORD}", f"{role}:least")}
    advance(warehouse.writer(), 0, None, 3)
    assert len(warehouse.offsets()) == 3
    warehouse.close()


def replaced(old: str, new: str) -> Callable[[str], dict[str, Any]]:
    return lambda uri: {"catalog_uri": uri.replace(old, new)}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (replaced(PASSWORD, "wrong"), RefusedError, "password authentication failed"),
        (replaced("postgres:", "nobody:"), RefusedError, "password authentication failed"),
        (replaced("/catalog", "/nothing"), RefusedError, 'database "nothing" does not exist'),
        (replaced(":5432", ":1"), UnavailableError, "Connection refused"),
        (lambda _: {"s3_secret_key": "wrong"}, RefusedError, "ACCESS_DENIED"),
        (lambda _: {"s3_access_key": "nobody"}, RefusedError, "HTTP status 404"),
        (lambda _: {"warehouse": "s3://k2-there-is-no-such-bucket/x"}, RefusedError, "NO_SUCH_BUCKET"),
        (lambda _: {"s3_endpoint": "http://127.0.0.1:1"}, UnavailableError, "NETWORK_CONNECTION"),
    ],
)
def test_what_a_server_refuses_is_told_from_one_that_is_away(
    servers: Servers, tmp_path: Path, change: Callable[[str], dict[str, Any]], kind: type[K2Error], said: str
) -> None:
    warehouse = ServerWarehouse(tmp_path, servers=servers, bucket=servers.bucket())
    warehouse.changed_settings = change(servers.catalog_uri)
    with pytest.raises(K2Error) as caught:
        create_tables(Settings(storage=warehouse.settings))
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [secret for secret in (SECRET_KEY, PASSWORD) if secret in str(caught.value)]


def test_an_object_store_that_is_silent_is_unavailable_and_then_goes_on(warehouse: ServerWarehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    servers = warehouse.servers
    servers.engine.pause(servers.containers["object-store"])
    try:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="NETWORK_CONNECTION"):
            writer.write_state(STATE, key(0), 4)
        assert time.monotonic() - started < 30
    finally:
        servers.engine.resume(servers.containers["object-store"])
    advance(writer, 0, 3, 8)
    assert len(warehouse.offsets()) == 8


def test_connections_that_the_database_ended_cost_nothing(warehouse: ServerWarehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    others = "pid <> pg_backend_pid() AND usename = 'postgres'"
    warehouse.servers.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    advance(writer, 0, 3, 8)
    assert len(warehouse.offsets()) == 8


def test_somebody_who_froze_in_a_transaction_holds_the_others_up_for_a_while_only(warehouse: ServerWarehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    engine = sqlalchemy.create_engine(catalog_properties(warehouse.settings)["uri"])
    frozen = engine.connect()
    limit = frozen.execute(sqlalchemy.text("SHOW idle_in_transaction_session_timeout")).scalar()
    frozen.execute(sqlalchemy.text("SET idle_in_transaction_session_timeout = '500ms'"))
    frozen.execute(sqlalchemy.text("SELECT * FROM iceberg_tables FOR UPDATE"))
    advance(writer, 0, 3, 8)
    frozen.invalidate()
    engine.dispose()
    assert limit == "20s"
    assert len(warehouse.offsets()) == 8


def test_no_secret_is_in_what_is_shown(warehouse: ServerWarehouse) -> None:
    settings = Settings(storage=warehouse.settings)
    with closing(open_catalog(settings)) as catalog:
        table = catalog.load(TRADE.table)
        shown = [settings.model_dump_json(), repr(settings), str(settings), repr(catalog), repr(table)]
    advance(warehouse.writer(), 0, None, 3)
    shown.append(warehouse.settings.audit_log.read_text())
    shown.append(warehouse.table().metadata.model_dump_json())
    assert not [text for text in shown if SECRET_KEY in text or PASSWORD in text]
