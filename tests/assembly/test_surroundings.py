"""What a process exports of what surrounds it."""

from pathlib import Path

import pytest

from k2.assembly.surroundings import exported_markets_and_compaction, exported_surroundings, server_addresses
from k2.assembly.tables import create_tables, open_catalog
from k2.clock import SystemClock
from k2.observability.metrics import CATALOGUE, Metrics
from k2.resilience.reachability import HTTP_GREETING, KAFKA_GREETING, POSTGRESQL_GREETING
from k2.settings import KafkaSettings, Settings, StorageSettings


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
