"""What a process exports of what surrounds it."""

from pathlib import Path

import pytest

from k2.assembly.surroundings import (
    exported_markets_and_compaction,
    exported_surroundings,
    server_addresses,
    written_directories,
)
from k2.assembly.tables import create_tables, open_catalog
from k2.clock import SystemClock
from k2.observability.metrics import CATALOGUE, Metrics
from k2.resilience.reachability import HTTP_GREETING, KAFKA_GREETING, POSTGRESQL_GREETING, REDIS_GREETING, answers
from k2.settings import KafkaSettings, Settings, StateSettings, StorageSettings
from tests.state.redis_double import redis_double


def settings_with(catalog: str, registry: str = "packaged", endpoint: str | None = None) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers="kafka-1:9092, kafka-2", schema_registry_url=registry),
        storage=StorageSettings(catalog_uri=catalog, s3_endpoint=endpoint),
    )


def test_every_server_the_settings_name_is_asked_in_its_own_protocol() -> None:
    settings = settings_with(
        "postgresql+psycopg://k2:secret@db/catalog", "http://one:8080/apis,https://two/apis", "http://store:7070"
    )
    found = [(str(server.dependency), str(server), server.greeting) for server in server_addresses(settings)]
    assert found == [
        ("broker", "kafka-1:9092", KAFKA_GREETING),
        ("broker", "kafka-2:9092", KAFKA_GREETING),
        ("schema_registry", "one:8080", HTTP_GREETING),
        ("schema_registry", "two:443", b""),
        ("catalog", "db:5432", POSTGRESQL_GREETING),
        ("object_store", "store:7070", HTTP_GREETING),
    ]


@pytest.mark.parametrize(("tls", "greeting"), [(False, REDIS_GREETING), (True, b"")])
def test_redis_is_asked_where_state_is_kept_on_it(tls: bool, greeting: bytes) -> None:
    state = StateSettings(kind="redis", redis_address="cache:6380", redis_tls=tls)
    for kind, expected in (("redis", [("redis", "cache:6380", greeting)]), ("sqlite", [])):
        settings = Settings(
            storage=StorageSettings(catalog_uri="sqlite://"), state=state.model_copy(update={"kind": kind})
        )
        servers = [server for server in server_addresses(settings) if server.dependency != "broker"]
        assert [(str(server.dependency), str(server), server.greeting) for server in servers] == expected


def test_redis_answers_its_greeting_whoever_asks() -> None:
    with redis_double() as server:
        settings = Settings(storage=StorageSettings(catalog_uri="sqlite://"), state=server.settings)
        assert answers(server_addresses(settings)[-1])


def test_the_folder_of_the_state_file_is_watched_where_there_is_one(tmp_path: Path) -> None:
    for kind, watched in (("sqlite", True), ("redis", True), ("memory", False)):
        state = StateSettings(sqlite_path=tmp_path / "state.db").model_copy(update={"kind": kind})
        settings = Settings(state=state)
        assert (tmp_path in written_directories(settings, "s3://bucket")) == watched


@pytest.mark.parametrize("catalog", ["sqlite:////srv/catalog.db", "postgresql://host:none/x", "nonsense"])
def test_an_address_without_a_server_is_left_out(catalog: str) -> None:
    assert [str(server.dependency) for server in server_addresses(settings_with(catalog))] == ["broker", "broker"]


def test_disks_markets_and_the_age_of_compaction_are_exported(tmp_path: Path) -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        storage=StorageSettings(
            catalog_uri=f"sqlite:///{tmp_path}/catalog.db",
            warehouse=str(tmp_path / "warehouse"),
            audit_log=tmp_path / "audit.jsonl",
        ),
    )
    create_tables(settings)
    metrics = Metrics()
    catalog = open_catalog(settings)
    with (
        exported_surroundings(settings, catalog, metrics),
        exported_markets_and_compaction(catalog, metrics, SystemClock()),
    ):
        lines = metrics.exposition().decode().splitlines()
    catalog.close()
    assert 'k2_dependency_up{address="127.0.0.1:1",dependency="broker"} 0.0' in lines
    assert 'k2_market_open{exchange="BINANCE"} 1.0' in lines
    free = [line for line in lines if line.startswith("k2_disk_free_bytes{")]
    assert {f'directory="{tmp_path}"', f'directory="{tmp_path}/warehouse"'} <= {
        line.split("{")[1].split("}")[0] for line in free
    }
    assert all(float(line.split()[-1]) > 0 for line in free)
    # Nothing has been committed, so there is nothing to compact.
    assert not [line for line in lines if line.startswith("k2_table_compaction_age_seconds{")]
    assert {"k2_disk_size_bytes", "k2_market_open"} <= {metric.name for metric in CATALOGUE}
