"""Queries on tables whose files are in a real S3 object store: the engine, free SQL, the cache, and outages."""

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow.fs import S3FileSystem

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.images import ensure_images
from k2.assembly.serving import query_engine, sql_process
from k2.errors import UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.query.result import RowQuery
from k2.settings import QuerySettings, Settings, StorageSettings
from tests.containers.container_label import LABEL
from tests.storage.warehouse_tables import DAY_NS, FIRST_TIME_NS, Warehouse, advance

# The first test may have to wait for the image to be built.
pytestmark = pytest.mark.timeout(3600)

HEALTHY_SECONDS = 120.0
ACCESS_KEY, SECRET_KEY = "k2-access", "s3-hush-hush"
ENVIRONMENT = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
COUNT = "SELECT count(*) AS n FROM trades"


@dataclass(frozen=True)
class Store:
    """The object store, running."""

    engine: EngineClient
    container: str
    endpoint: str


class StoredTables(Warehouse):
    """Tables whose catalog is a file here and whose files are in the store."""

    store: Store
    bucket: str
    cache_limit_bytes = 10**7

    @property
    def settings(self) -> StorageSettings:
        return StorageSettings(
            catalog_uri=f"sqlite:///{self.folder}/catalog.db",
            warehouse=f"s3://{self.bucket}/warehouse",
            audit_log=self.folder / "audit.jsonl",
            s3_endpoint=self.store.endpoint,
            s3_access_key=ACCESS_KEY,  # type: ignore[arg-type]
            s3_secret_key=SECRET_KEY,  # type: ignore[arg-type]
            s3_connect_timeout_seconds=1,
            s3_request_timeout_seconds=2,
        )

    @property
    def all_settings(self) -> Settings:
        query = QuerySettings(
            memory_limit="300MB", cache_directory=self.cache, cache_limit_bytes=self.cache_limit_bytes
        )
        return Settings(storage=self.settings, query=query)

    @property
    def cache(self) -> Path:
        return self.folder / "query-cache"

    def cached(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if path.name != "lock")


@pytest.fixture(scope="module")
def store(engine: EngineClient) -> Iterator[Store]:
    (image,) = [image for image in ensure_images(engine, print, ["object-store"]) if image.name == "object-store"]
    container = engine.start_container(str(image.reference), label=LABEL, environment=ENVIRONMENT)
    give_up_at = time.monotonic() + HEALTHY_SECONDS
    while engine.health(container) != "healthy":
        assert time.monotonic() < give_up_at, engine.logs(container)[-4000:]
        time.sleep(0.2)
    # Its address on the engine's own network is the last line of its hosts file.
    address = engine.execute(container, "tail", "-n", "1", "/etc/hosts")[1].split()[0]
    yield Store(engine, container, f"http://{address}:7070")
    engine.remove_container(container)


@pytest.fixture
def tables(store: Store, tmp_path: Path) -> Iterator[StoredTables]:
    tables = StoredTables(tmp_path)
    tables.store, tables.bucket = store, f"k2-{secrets.token_hex(4)}"
    S3FileSystem(
        endpoint_override=store.endpoint,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        region="us-east-1",
        allow_bucket_creation=True,
    ).create_dir(tables.bucket)
    tables.open_catalog().create_tables()
    writer = tables.writer()
    for day in range(3):
        advance(writer, 0, 10 * day or None, 10 * day + 10, time_ns=FIRST_TIME_NS + day * DAY_NS)
    yield tables
    tables.close()


def test_rows_are_those_that_pyiceberg_scans(tables: StoredTables) -> None:
    with query_engine(tables.all_settings, Metrics()) as engine:
        rows = engine.query_trades().rows
    scanned = tables.table().scan().to_arrow()
    assert sorted(rows["kafka_offset"].to_pylist()) == sorted(scanned["kafka_offset"].to_pylist()) == [*range(30)]
    assert {(row["trade_id"], row["price"]) for row in rows.to_pylist()} == {
        (row["trade_id"], row["price"]) for row in scanned.to_pylist()
    }


def test_only_files_that_can_hold_an_answer_are_fetched_and_each_once(tables: StoredTables) -> None:
    query = RowQuery(start_time_ns=FIRST_TIME_NS + DAY_NS, end_time_ns=FIRST_TIME_NS + 2 * DAY_NS)
    with query_engine(tables.all_settings, Metrics()) as engine:
        for _ in range(2):
            (result,) = engine.query_rows("trades", [query])
            assert sorted(result.rows["kafka_offset"].to_pylist()) == [*range(10, 20)]
            (fetched,) = tables.cached()
        inode = (tables.cache / fetched).stat().st_ino
        assert engine.explain_rows("trades", query).files == 1
        assert engine.get_symbols("trades").rows.num_rows == 1
        assert len(tables.cached()) == 3
    assert (tables.cache / fetched).stat().st_ino == inode


def test_the_cache_answers_where_the_store_is_gone_as_long_as_the_plan_is_known(tables: StoredTables) -> None:
    with query_engine(tables.all_settings, Metrics()) as engine:
        assert engine.query_trades().rows.num_rows == 30
        tables.store.engine.pause(tables.store.container)
        try:
            assert engine.query_trades().rows.num_rows == 30
            tables.cache.joinpath(tables.cached()[0]).unlink()
            with pytest.raises(UnavailableError, match=r"a data file cannot be fetched"):
                engine.query_trades(time_limit_seconds=30)
        finally:
            tables.store.engine.resume(tables.store.container)


def test_a_cache_too_small_is_bounded_and_says_so(tables: StoredTables) -> None:
    sizes = [task.file.file_size_in_bytes for task in tables.table().scan().plan_files()]
    tables.cache_limit_bytes = max(sizes) + 10
    with query_engine(tables.all_settings, Metrics()) as engine:
        with pytest.raises(UsageError, match=r"narrow it or raise K2_QUERY__CACHE_LIMIT_BYTES"):
            engine.query_trades()
        for day in range(3):
            start_ns = FIRST_TIME_NS + day * DAY_NS
            found = engine.query_trades(start_time_ns=start_ns, end_time_ns=start_ns + DAY_NS).rows
            assert found.num_rows == 10
            assert sum(entry.stat().st_size for entry in os.scandir(tables.cache)) <= tables.cache_limit_bytes


def test_free_sql_and_older_states_read_the_store_too(tables: StoredTables) -> None:
    first = tables.table().metadata.snapshots[0]
    with query_engine(tables.all_settings, Metrics()) as engine:
        assert engine.query_trades(snapshot_id=first.snapshot_id).rows.num_rows == 10
    as_of_time_ns = first.timestamp_ms * 1_000_000
    for moment, rows in ((None, 30), (as_of_time_ns, 10)):
        with sql_process(tables.all_settings, Metrics(), as_of_time_ns=moment) as process, process.run(COUNT) as answer:
            assert answer.read_all().to_pylist() == [{"n": rows}]


def test_without_a_folder_for_the_cache_the_remedy_is_named(tables: StoredTables) -> None:
    settings = tables.all_settings.model_copy(update={"query": QuerySettings()})
    with (
        pytest.raises(UsageError, match="is not on this machine: set K2_QUERY__CACHE_DIRECTORY"),
        query_engine(settings, Metrics()),
    ):
        pass
